#include "backends/kv/checkpoint_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kManifestName = "MANIFEST";
// Unsynced bytes of a file stay below this, so that no single sync has much to do.
constexpr uint64_t kUnsyncedBytesMax = 8 << 20;

bool IsDataFile(std::string_view name) {
  return name.ends_with(".ckpt") && (name.starts_with("base-") || name.starts_with("delta-"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointStore>> CheckpointStore::Open(
    FileEnv* env, const std::string& dir, absl::FunctionRef<void(const WriteOp&)> replay) {
  QR_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, env->Lock(StrCat(dir, "/LOCK")));
  auto store = std::unique_ptr<CheckpointStore>(new CheckpointStore(env, dir, std::move(lock)));
  if (env->Exists(store->PathOf(std::string(kManifestName)))) {
    QR_RETURN_IF_ERROR(store->Load(replay));
  } else {
    QR_RETURN_IF_ERROR(store->CreateNew());
  }
  return store;
}

absl::Status CheckpointStore::CreateNew() {
  // The manifest is the last thing that a new store gets; content without one is damage.
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_->List(dir_));
  for (const std::string& name : names) {
    if (!IsDataFile(name)) continue;
    QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env_->Open(PathOf(name), WriteMode::kBuffered));
    QR_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    // Head and mark are there from the start.
    if (size > kFileHeadBytes + kFrameHeaderBytes) {
      return CheckpointDamage(PathOf(std::string(kManifestName)), 0,
                              StrCat("the file is missing, but ", name, " has content"));
    }
  }
  QR_RETURN_IF_ERROR(RemoveUnlisted());
  CheckpointManifest manifest;
  manifest.active = {next_file_++, kFileHeadBytes};
  QR_ASSIGN_OR_RETURN(active_,
                      FrameFileWriter::Create(env_, PathOf(DeltaFileName(manifest.active.number)),
                                              manifest.active.number));
  QR_RETURN_IF_ERROR(active_->Sync(sequence_));
  QR_RETURN_IF_ERROR(env_->SyncDir(dir_));
  return WriteManifest(manifest);
}

absl::Status CheckpointStore::Load(absl::FunctionRef<void(const WriteOp&)> replay) {
  // Before files that this manifest does not name are removed: the one on disk may be older.
  QR_RETURN_IF_ERROR(env_->SyncDir(dir_));
  const std::string manifest_path = PathOf(std::string(kManifestName));
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(env_, manifest_path));
  QR_ASSIGN_OR_RETURN(manifest_, ParseManifest(text, manifest_path));
  next_file_ = manifest_.active.number + 1;
  if (manifest_.base.has_value()) {
    const auto& base = *manifest_.base;
    next_file_ = std::max(next_file_, base.number + 1);
    QR_RETURN_IF_ERROR(LoadFrameFile(env_, PathOf(BaseFileName(base.number)), base.number, 0,
                                     {base.bytes, FrameFileEnd::Tail::kNone}, replay)
                           .status());
  }
  QR_CHECK(manifest_.first_sequence > 0);
  sequence_ = manifest_.first_sequence - 1;
  for (const auto& file : manifest_.sealed) {
    QR_ASSIGN_OR_RETURN(const FrameFileContent content,
                        LoadFrameFile(env_, PathOf(DeltaFileName(file.number)), file.number,
                                      sequence_, {file.bytes, FrameFileEnd::Tail::kNone}, replay));
    sequence_ = content.last_sequence;
  }
  const uint64_t number = manifest_.active.number;
  const std::string path = PathOf(DeltaFileName(number));
  QR_ASSIGN_OR_RETURN(
      const FrameFileContent content,
      LoadFrameFile(env_, path, number, sequence_,
                    {manifest_.active.bytes, FrameFileEnd::Tail::kMayBeTorn}, replay));
  sequence_ = content.last_sequence;
  if (!content.torn.empty()) {
    LogWarn("cut off an unfinished write at the end of a memory checkpoint; the log has it",
            {{"file", path}, {"offset", content.good_bytes}, {"found", content.torn}});
  }
  QR_ASSIGN_OR_RETURN(active_, FrameFileWriter::Continue(env_, path, number, content));
  return RemoveUnlisted();
}

std::vector<std::string> CheckpointStore::FindDamage(FileEnv* env, const std::string& dir) {
  std::vector<std::string> found;
  const auto good = [&found](const absl::Status& status) {
    if (!status.ok()) found.emplace_back(ToStd(status.message()));
    return status.ok();
  };
  const std::string manifest_path = StrCat(dir, "/", kManifestName);
  const absl::StatusOr<std::string> text = ReadFileToString(env, manifest_path);
  if (absl::IsNotFound(text.status())) {
    good(CheckpointDamage(manifest_path, 0, "the file is missing"));
    return found;
  }
  if (!good(text.status())) return found;
  const absl::StatusOr<CheckpointManifest> manifest = ParseManifest(*text, manifest_path);
  if (!good(manifest.status())) return found;
  // The sequence that follows is known only behind a good file.
  std::optional<uint64_t> before = 0;
  const auto look = [&](const std::string& name, const CheckpointManifest::DataFile& file,
                        FrameFileEnd::Tail tail) {
    const absl::StatusOr<FrameFileContent> content =
        LoadFrameFile(env, StrCat(dir, "/", name), file.number, before, {file.bytes, tail},
                      [](const WriteOp&) {});
    before = good(content.status()) ? std::optional(content->last_sequence) : std::nullopt;
  };
  if (manifest->base.has_value()) {
    look(BaseFileName(manifest->base->number), *manifest->base, FrameFileEnd::Tail::kNone);
  }
  before = manifest->first_sequence - 1;
  for (const auto& file : manifest->sealed) {
    look(DeltaFileName(file.number), file, FrameFileEnd::Tail::kNone);
  }
  look(DeltaFileName(manifest->active.number), manifest->active, FrameFileEnd::Tail::kMayBeTorn);
  return found;
}

absl::Status CheckpointStore::RemoveUnlisted() {
  std::vector<std::string> listed;
  if (manifest_.base.has_value()) listed.push_back(BaseFileName(manifest_.base->number));
  for (const auto& file : manifest_.sealed) listed.push_back(DeltaFileName(file.number));
  if (manifest_.active.number != 0) listed.push_back(DeltaFileName(manifest_.active.number));
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, env_->List(dir_));
  for (const std::string& name : names) {
    if (!IsDataFile(name)) continue;
    if (std::find(listed.begin(), listed.end(), name) != listed.end()) continue;
    QR_RETURN_IF_ERROR(env_->Remove(PathOf(name)));
  }
  return absl::OkStatus();
}

absl::Status CheckpointStore::WriteManifest(const CheckpointManifest& manifest) {
  QR_RETURN_IF_ERROR(
      WriteFileAtomically(env_, PathOf(std::string(kManifestName)), EncodeManifest(manifest)));
  manifest_ = manifest;
  return absl::OkStatus();
}

uint64_t CheckpointStore::bytes() const {
  uint64_t bytes = active_->size();
  for (const auto& file : manifest_.sealed) bytes += file.bytes;
  if (manifest_.base.has_value()) bytes += manifest_.base->bytes;
  return bytes;
}

absl::Status CheckpointStore::Append(std::span<const WriteOp> batch) {
  QR_RETURN_IF_ERROR(active_->Append(batch, sequence_ + 1));
  ++sequence_;
  return active_->unsynced_bytes() < kUnsyncedBytesMax ? absl::OkStatus() : Sync();
}

absl::Status CheckpointStore::Sync() {
  if (active_->unsynced_bytes() == 0) return absl::OkStatus();
  return active_->Sync(sequence_);
}

absl::Status CheckpointStore::BeginRewrite() {
  QR_CHECK(!rewriting());
  QR_RETURN_IF_ERROR(Sync());
  std::unique_ptr<FrameFileWriter> delta;
  const absl::Status created = CreateRewriteFiles(&delta);
  if (!created.ok()) return GiveUpIfFull(created);
  CheckpointManifest manifest = manifest_;
  manifest.sealed.push_back({active_->number(), active_->synced_size()});
  manifest.active = {delta->number(), delta->synced_size()};
  // From here on the files on disk may already be the new ones: every error is final.
  QR_RETURN_IF_ERROR(WriteManifest(manifest));
  active_ = std::move(delta);
  base_frames_ = 0;
  rewrite_first_sequence_ = sequence_ + 1;
  return absl::OkStatus();
}

absl::Status CheckpointStore::CreateRewriteFiles(std::unique_ptr<FrameFileWriter>* delta) {
  const uint64_t delta_number = next_file_++;
  const uint64_t base_number = next_file_++;
  QR_ASSIGN_OR_RETURN(
      *delta, FrameFileWriter::Create(env_, PathOf(DeltaFileName(delta_number)), delta_number));
  QR_RETURN_IF_ERROR((*delta)->Sync(sequence_));
  QR_ASSIGN_OR_RETURN(
      base_, FrameFileWriter::Create(env_, PathOf(BaseFileName(base_number)), base_number));
  return env_->SyncDir(dir_);
}

absl::Status CheckpointStore::GiveUpIfFull(const absl::Status& status) {
  base_.reset();
  if (!absl::IsResourceExhausted(status)) return status;
  LogWarn("no room to rewrite the memory checkpoint; going on with the old files",
          {{"dir", dir_}, status});
  // A file that cannot be removed now is removed at the next open.
  RemoveUnlisted().IgnoreError();
  return absl::OkStatus();
}

absl::Status CheckpointStore::RewriteSlice(std::span<const WriteOp> puts) {
  QR_CHECK(rewriting());
  const absl::Status status = base_->Append(puts, base_frames_ + 1);
  if (!status.ok()) return GiveUpIfFull(status);
  ++base_frames_;
  if (base_->unsynced_bytes() < kUnsyncedBytesMax) return absl::OkStatus();
  return base_->Sync(base_frames_);
}

absl::Status CheckpointStore::FinishRewrite() {
  QR_CHECK(rewriting());
  QR_RETURN_IF_ERROR(base_->Sync(base_frames_));
  QR_RETURN_IF_ERROR(Sync());
  CheckpointManifest manifest;
  manifest.base = {base_->number(), base_->synced_size()};
  manifest.active = {active_->number(), active_->synced_size()};
  manifest.first_sequence = rewrite_first_sequence_;
  QR_RETURN_IF_ERROR(WriteManifest(manifest));
  base_.reset();
  return RemoveUnlisted();
}

}  // namespace quorate::kv
