#include "backends/bbolt/snapshot_file.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::bbolt {
namespace {

constexpr std::string_view kStorageVersion = "storageVersion";
constexpr size_t kReadBytes = 1 << 20;
constexpr uint64_t kDigestUnit = 512;  // databases are a multiple of it, snapshots not
constexpr size_t kRevisionKeyBytes = 17;

kv::Table TableAt(size_t i) { return static_cast<kv::Table>(i); }

// Of a key of bucket key; nullopt when it has not the form of one.
std::optional<int64_t> MainRevision(std::string_view key) {
  if (key.size() < kRevisionKeyBytes) return std::nullopt;
  uint64_t main = 0;
  for (const char byte : key.substr(0, 8)) main = main << 8 | static_cast<unsigned char>(byte);
  return static_cast<int64_t>(main);
}

}  // namespace

DigestMaker::DigestMaker() : context_(EVP_MD_CTX_new()) {
  QR_CHECK(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_.get()), EVP_sha256(), nullptr) == 1);
}

void DigestMaker::Free::operator()(void* context) const {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context));
}

void DigestMaker::Add(std::string_view bytes) {
  auto* context = static_cast<EVP_MD_CTX*>(context_.get());
  QR_CHECK(EVP_DigestUpdate(context, bytes.data(), bytes.size()) == 1);
}

Digest DigestMaker::Finish() {
  Digest digest;
  auto* context = static_cast<EVP_MD_CTX*>(context_.get());
  QR_CHECK(EVP_DigestFinal_ex(context, digest.data(), nullptr) == 1);
  return digest;
}

absl::StatusOr<std::string> StorageVersionOf(const kv::KvSnapshot& state,
                                             std::string_view fallback) {
  std::string version(fallback);
  QR_RETURN_IF_ERROR(state.Scan(kv::Table::kMeta, kStorageVersion, {},
                                [&](std::string_view key, std::string_view value) {
                                  if (key == kStorageVersion) version = value;
                                  return false;
                                }));
  return version;
}

SnapshotWriter::SnapshotWriter(std::unique_ptr<kv::KvSnapshot> state, std::string storage_version,
                               File* file)
    : state_(std::move(state)), storage_version_(std::move(storage_version)), writer_(file) {}

absl::StatusOr<SnapshotWriter::Progress> SnapshotWriter::Step(uint64_t bytes) {
  QR_CHECK(state_ != nullptr);
  const uint64_t aim = writer_.bytes() + bytes;
  while (table_ < kv::kTableCount && writer_.bytes() < aim) {
    if (!in_table_) writer_.BeginBucket(TableName(TableAt(table_)));
    in_table_ = true;
    QR_RETURN_IF_ERROR(FillTable(aim - writer_.bytes()));
  }
  if (table_ < kv::kTableCount) return Progress::kMore;
  QR_RETURN_IF_ERROR(writer_.Finish());
  state_.reset();
  return Progress::kDone;
}

// The version has its place in the order of table meta.
absl::Status SnapshotWriter::AddVersionBefore(std::string_view key) {
  if (TableAt(table_) != kv::Table::kMeta || storage_version_.empty()) return absl::OkStatus();
  if (!key.empty() && key < kStorageVersion) return absl::OkStatus();
  const std::string version = std::exchange(storage_version_, {});
  return key == kStorageVersion ? absl::OkStatus() : writer_.Add(kStorageVersion, version);
}

absl::Status SnapshotWriter::FillTable(uint64_t bytes) {
  absl::Status failed;
  uint64_t taken = 0;
  bool full = false;
  QR_RETURN_IF_ERROR(
      state_->Scan(TableAt(table_), begin_, {}, [&](std::string_view key, std::string_view value) {
        if (taken >= bytes) {
          full = true;
          begin_ = key;
          return false;
        }
        failed = AddVersionBefore(key);
        if (failed.ok()) failed = writer_.Add(key, value);
        taken += key.size() + value.size() + kElementBytes;
        return failed.ok();
      }));
  QR_RETURN_IF_ERROR(failed);
  if (full) return absl::OkStatus();
  QR_RETURN_IF_ERROR(AddVersionBefore({}));
  ++table_;
  in_table_ = false;
  begin_.clear();
  return writer_.EndBucket();
}

absl::StatusOr<std::unique_ptr<SnapshotFile>> SnapshotFile::Open(FileEnv* env,
                                                                 const std::string& path) {
  auto snapshot = std::make_unique<SnapshotFile>();
  QR_ASSIGN_OR_RETURN(snapshot->file_, env->Open(path, WriteMode::kBuffered));
  QR_ASSIGN_OR_RETURN(snapshot->file_bytes_, snapshot->file_->Size());
  uint64_t bytes = snapshot->file_bytes_;
  if (bytes % kDigestUnit == kDigestBytes) {
    bytes -= kDigestBytes;
    Digest digest;
    QR_ASSIGN_OR_RETURN(
        const size_t got,
        snapshot->file_->ReadAt(bytes, digest.size(), reinterpret_cast<char*>(digest.data())));
    if (got != digest.size()) {
      return absl::DataLossError(StrCat(path, ": ends within its digest, at offset ", bytes + got));
    }
    snapshot->stored_digest_ = digest;
  }
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env->Open(path, WriteMode::kBuffered));
  QR_ASSIGN_OR_RETURN(snapshot->reader_, Reader::Open(std::move(file), bytes));
  return snapshot;
}

absl::Status SnapshotFile::Scan(
    kv::Table table, std::string_view begin, std::string_view end,
    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor) const {
  return reader_->Scan(TableName(table), begin, end, visitor);
}

absl::StatusOr<Digest> SnapshotFile::ComputeDigest() const {
  DigestMaker maker;
  std::string piece(kReadBytes, '\0');
  const uint64_t end = file_bytes_ - (stored_digest_ ? kDigestBytes : 0);
  for (uint64_t offset = 0; offset < end;) {
    const size_t size = std::min<uint64_t>(piece.size(), end - offset);
    QR_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset, size, piece.data()));
    if (got == 0) return absl::DataLossError(StrCat(file_->path(), ": ends at offset ", offset));
    maker.Add(std::string_view(piece).substr(0, got));
    offset += got;
  }
  return maker.Finish();
}

absl::StatusOr<FileSummary> Summarize(const Reader& reader) {
  FileSummary summary;
  const std::string_view keys = TableName(kv::Table::kKey);
  const std::string_view meta = TableName(kv::Table::kMeta);
  for (const std::string& bucket : reader.buckets()) {
    summary.hash = Crc32c(summary.hash, bucket);
    absl::Status damage;
    QR_RETURN_IF_ERROR(
        reader.Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
          summary.hash = Crc32c(Crc32c(summary.hash, key), value);
          if (bucket == meta && key == kStorageVersion) summary.version = value;
          if (bucket != keys) return true;
          const std::optional<int64_t> revision = MainRevision(key);
          if (revision) summary.revision = *revision;
          if (!revision) {
            damage = absl::DataLossError(StrCat(reader.path(), ": bucket key holds a key of ",
                                                key.size(), " bytes, which is no revision"));
          }
          return damage.ok();
        }));
    QR_RETURN_IF_ERROR(damage);
  }
  return summary;
}

}  // namespace quorate::bbolt
