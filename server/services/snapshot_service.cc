#include "server/services/snapshot_service.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "backends/bbolt/snapshot_file.h"
#include "base/file_env.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "proto/etcdserverpb.pb.h"
#include "server/data_dir.h"
#include "server/services/gate.h"
#include "server/version_monitor.h"

namespace quorate::server {
namespace {

constexpr uint64_t kStepBytes = 4 << 20;  // a worker writes them at a time
constexpr size_t kBlobBytes = 32 << 10;   // etcd's
constexpr size_t kQueueBytes = 1 << 20;   // the stream is given more while less is queued
constexpr int kSpoolsMax = 4;             // each takes as much disk as the database
constexpr char kPath[] = "/etcdserverpb.Maintenance/Snapshot";
constexpr int kInternal = 13, kResourceExhausted = 8;

// How many are there, and the number of the next one.
struct Spools {
  std::atomic<int> open{0};
  std::atomic<uint64_t> next{0};
};

// One stream. The steps run on workers, one at a time; what they share with the transport's thread
// is `mutex_`'s.
class SnapshotStream final : public std::enable_shared_from_this<SnapshotStream> {
 public:
  SnapshotStream(ServiceContext* context, std::shared_ptr<Spools> spools, CallPtr call)
      : context_(context), spools_(std::move(spools)), call_(std::move(call)) {}
  ~SnapshotStream() {
    if (admitted_) --spools_->open;
  }

  void Start() {
    admitted_ = true;
    if (++spools_->open > kSpoolsMax) {
      return Fail(*call_, {kResourceExhausted, "etcdserver: too many snapshots at a time"});
    }
    start_ns_ = context_->clock->MonotonicNs();
    context_->loop->Run([self = shared_from_this()](Replica& replica) {
      replica.SealNow();
      self->version_ = StorageVersion(replica.engine().cluster_version());
      // By then all that was applied is with the backend writer.
      self->context_->loop->Run([self](Replica&) {
        self->context_->backend_writer->Run([self](kv::KvBackend& backend) {
          self->Take(backend.NewSnapshot());
          return std::nullopt;
        });
      });
    });
  }

  // There is room in the stream again, or the file is complete.
  void Continue() {
    {
      std::lock_guard lock(mutex_);
      if (!spooled_ || std::exchange(wanted_, true)) return;
    }
    context_->workers->Submit([self = shared_from_this()] { self->SendSome(); });
  }

 private:
  void Take(absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> state) {
    if (!state.ok()) return Refuse(state.status());
    context_->workers->Submit([self = shared_from_this(), state = *std::move(state)]() mutable {
      if (self->call_->cancelled()) return;
      const absl::Status begun = self->BeginSpool(std::move(state));
      if (!begun.ok()) return self->Refuse(begun);
      self->SpoolSome();
    });
  }

  absl::Status BeginSpool(std::unique_ptr<kv::KvSnapshot> state) {
    QR_ASSIGN_OR_RETURN(version_, bbolt::StorageVersionOf(*state, version_));
    FileEnv* const env = PosixFileEnv();
    const std::string path = StrCat(context_->config->data_dir, "/member/", kSnapshotSpoolPrefix,
                                    spools_->next.fetch_add(1));
    QR_ASSIGN_OR_RETURN(spool_, env->Create(path, WriteMode::kBuffered));
    QR_RETURN_IF_ERROR(env->Remove(path));
    writer_ = std::make_unique<bbolt::SnapshotWriter>(std::move(state), version_, spool_.get());
    return absl::OkStatus();
  }

  void SpoolSome() {
    using Progress = bbolt::SnapshotWriter::Progress;
    if (call_->cancelled()) return;
    const absl::StatusOr<Progress> progress = writer_->Step(kStepBytes);
    if (!progress.ok()) return Refuse(progress.status());
    if (*progress == Progress::kMore) {
      return context_->workers->Submit([self = shared_from_this()] { self->SpoolSome(); });
    }
    bytes_ = writer_->bytes();
    writer_.reset();
    LogInfo("sending database snapshot to client",
            {{"total-bytes", bytes_},
             {"storage-version", version_},
             {"took", FormatGoDuration(context_->clock->MonotonicNs() - start_ns_)}});
    {
      std::lock_guard lock(mutex_);
      spooled_ = true;
    }
    Continue();
  }

  void SendSome() {
    {
      std::lock_guard lock(mutex_);
      wanted_ = false;
    }
    // A second run of this that begins meanwhile waits, and finds the queue full.
    std::lock_guard lock(send_mutex_);
    const uint64_t pause = sent_ + kStepBytes;
    while (!finished_ && !call_->cancelled() && call_->QueuedBytes() < kQueueBytes) {
      if (sent_ >= pause) return Continue();
      const absl::Status sent = sent_ < bytes_ ? SendBlob() : SendDigest();
      if (!sent.ok()) return Refuse(sent);
    }
  }

  absl::Status SendBlob() {
    std::string blob(std::min<uint64_t>(kBlobBytes, bytes_ - sent_), '\0');
    QR_ASSIGN_OR_RETURN(const size_t got, spool_->ReadAt(sent_, blob.size(), blob.data()));
    if (got != blob.size()) return absl::DataLossError("the spooled snapshot ends early");
    digest_.Add(blob);
    sent_ += got;
    Send(std::move(blob));
    return absl::OkStatus();
  }

  absl::Status SendDigest() {
    const bbolt::Digest digest = digest_.Finish();
    Send(std::string(digest.begin(), digest.end()));
    call_->Finish({});
    finished_ = true;
    LogInfo("successfully sent database snapshot to client",
            {{"total-bytes", bytes_},
             {"took", FormatGoDuration(context_->clock->MonotonicNs() - start_ns_)}});
    return absl::OkStatus();
  }

  void Send(std::string blob) {
    etcdserverpb::SnapshotResponse message;
    message.set_remaining_bytes(bytes_ - sent_);
    message.set_blob(std::move(blob));
    message.set_version(version_);
    call_->Send(Bytes::FromString(message.SerializeAsString()));
  }

  void Refuse(const absl::Status& status) {
    LogWarn("failed to send database snapshot to client", {status});
    Fail(*call_, {absl::IsResourceExhausted(status) ? kResourceExhausted : kInternal,
                  std::string(status.message())});
  }

  ServiceContext* const context_;
  const std::shared_ptr<Spools> spools_;
  const CallPtr call_;
  bool admitted_ = false;
  int64_t start_ns_ = 0;

  // Of the steps.
  std::string version_;
  std::unique_ptr<File> spool_;
  std::unique_ptr<bbolt::SnapshotWriter> writer_;
  uint64_t bytes_ = 0;
  std::mutex send_mutex_;  // guards the rest of these
  uint64_t sent_ = 0;
  bool finished_ = false;
  bbolt::DigestMaker digest_;

  std::mutex mutex_;  // guards the two below
  bool spooled_ = false;
  bool wanted_ = false;  // a run of SendSome is submitted and has not begun
};

class SnapshotCall final : public transport::CallHandler {
 public:
  SnapshotCall(ServiceContext* context, std::shared_ptr<Spools> spools, CallPtr call)
      : context_(context),
        call_(call),
        stream_(std::make_shared<SnapshotStream>(context, std::move(spools), std::move(call))) {}

  void OnMessage(Bytes bytes) override {
    if (std::exchange(started_, true)) return;
    etcdserverpb::SnapshotRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    Permit(*context_, call_, AccessTo(kPath), [stream = stream_] { stream->Start(); });
  }
  void OnHalfClose() override {}
  void OnWritable() override { stream_->Continue(); }
  void OnClosed() override { context_->leader_streams->Remove(call_.get()); }

 private:
  ServiceContext* const context_;
  const CallPtr call_;
  const std::shared_ptr<SnapshotStream> stream_;
  bool started_ = false;
};

}  // namespace

void AddSnapshotMethod(ServiceContext* context, transport::ServiceTable* table) {
  transport::Method method;
  method.path = kPath;
  method.kind = transport::Method::Kind::kServerStream;
  method.bidi = [context, spools = std::make_shared<Spools>()](CallPtr call) {
    AdmitStream(*context, call, OnLearner::kServed);
    return std::make_unique<SnapshotCall>(context, spools, std::move(call));
  };
  table->Add(std::move(method));
}

}  // namespace quorate::server
