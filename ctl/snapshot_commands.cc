// snapshot save.
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "backends/bbolt/snapshot_file.h"
#include "base/file_env.h"
#include "base/status_util.h"
#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using bbolt::kDigestBytes;

// Where the file grows until it is whole: FILE.part, which is removed if that does not come about.
class PartFile {
 public:
  explicit PartFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {}
  ~PartFile() {
    if (file_ != nullptr) PosixFileEnv()->Remove(part_).IgnoreError();
  }

  absl::Status Create() {
    QR_ASSIGN_OR_RETURN(file_, PosixFileEnv()->Create(part_, WriteMode::kBuffered));
    return absl::OkStatus();
  }
  absl::Status Append(std::string_view bytes) {
    QR_RETURN_IF_ERROR(file_->WriteAt(bytes_, {&bytes, 1}));
    bytes_ += bytes.size();
    // The last bytes are the digest of those before, and nothing else is.
    tail_ += bytes;
    if (tail_.size() > kDigestBytes) {
      digest_.Add(std::string_view(tail_).substr(0, tail_.size() - kDigestBytes));
      tail_.erase(0, tail_.size() - kDigestBytes);
    }
    return absl::OkStatus();
  }
  // The file is there, whole and durable, when it returns.
  absl::Status Finish() {
    const bbolt::Digest digest = digest_.Finish();
    if (tail_ != std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size())) {
      return absl::DataLossError(StrCat("sha256 of the snapshot is not that of its ",
                                        bytes_ > kDigestBytes ? bytes_ - kDigestBytes : 0,
                                        " bytes"));
    }
    QR_RETURN_IF_ERROR(file_->Sync());
    QR_RETURN_IF_ERROR(PosixFileEnv()->Rename(part_, path_));
    file_.reset();
    return PosixFileEnv()->SyncDir(FolderOf(path_));
  }

  uint64_t bytes() const { return bytes_; }

 private:
  const std::string path_, part_;
  std::unique_ptr<File> file_;
  uint64_t bytes_ = 0;
  std::string tail_;
  bbolt::DigestMaker digest_;
};

// One line that is written over and over; on a terminal alone.
class Progress {
 public:
  void Show(uint64_t bytes, uint64_t total) {
    if (!shown_to_somebody_ || bytes < next_) return;
    next_ = bytes + kStepBytes;
    std::fprintf(stderr, "\r%s of %s ", HumanBytes(bytes).c_str(), HumanBytes(total).c_str());
    open_ = true;
  }
  ~Progress() {
    if (open_) std::fprintf(stderr, "\n");
  }

 private:
  static constexpr uint64_t kStepBytes = 1 << 20;
  const bool shown_to_somebody_ = isatty(STDERR_FILENO) == 1;
  uint64_t next_ = 0;
  bool open_ = false;
};

// Takes the whole stream; `version` is what the server says of its storage.
absl::Status Download(SyncStream* stream, int64_t end_ns, PartFile* file, std::string* version) {
  const SystemClock clock;
  Progress progress;
  stream->Send(etcdserverpb::SnapshotRequest());
  stream->HalfClose();
  while (true) {
    const int64_t wait_ns = end_ns == INT64_MAX ? INT64_MAX : end_ns - clock.MonotonicNs();
    if (wait_ns <= 0) return absl::DeadlineExceededError("context deadline exceeded");
    const std::optional<Bytes> bytes = stream->Receive(wait_ns);
    if (!bytes && !stream->closed()) continue;
    if (!bytes) break;
    etcdserverpb::SnapshotResponse message;
    if (!message.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) {
      return absl::InternalError("the server sent what is no SnapshotResponse");
    }
    *version = message.version();
    QR_RETURN_IF_ERROR(file->Append(message.blob()));
    progress.Show(file->bytes(), file->bytes() + message.remaining_bytes());
  }
  if (stream->status().ok()) return absl::OkStatus();
  return absl::UnavailableError(ErrorText(stream->status()));
}

int Save(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "snapshot save expects one argument <filename>");
  }
  const std::string& path = session->words()[0];
  const std::vector<std::string> endpoints = session->values().GetList("endpoints");
  if (endpoints.size() != 1) {
    return Fail(kExitInterrupted,
                StrCat("snapshot must be requested to one selected node, not multiple [",
                       StrJoin(endpoints, " "), "]"));
  }
  SyncClient* const client = session->Client();
  if (client == nullptr) return session->failure();
  // A large state takes its time: only a limit that was asked for counts.
  const bool limited = session->values().Source("command-timeout") != OptionSource::kDefault;
  const int64_t end_ns =
      limited ? SystemClock().MonotonicNs() + session->values().GetInt("command-timeout")
              : INT64_MAX;
  PartFile file(path);
  absl::Status status = file.Create();
  std::string version;
  if (status.ok()) {
    const auto stream = client->Open("/etcdserverpb.Maintenance/Snapshot");
    status = Download(stream.get(), end_ns, &file, &version);
  }
  if (status.ok()) status = file.Finish();
  if (!status.ok()) return Fail(kExitInterrupted, ToStd(status.message()));
  Out(StrCat("Snapshot saved at ", path, "\n"));
  if (!version.empty()) Out(StrCat("Server version ", version, "\n"));
  return kExitOk;
}

}  // namespace

std::vector<Command> SnapshotCommands() {
  return {{"snapshot save",
           "<filename>",
           "Saves a snapshot of one server's state to a file",
           {},
           Save,
           "The file is written as <filename>.part until it is whole and its SHA-256 is right.\n"
           "quorateutl snapshot restore makes a new cluster of it."}};
}

}  // namespace quorate::ctl
