#include "server/backend_writer.h"

#include <utility>

#include "base/log.h"
#include "base/thread_name.h"
#include "base/thread_turns.h"

namespace quorate::server {
namespace {

constexpr size_t kTasksMax = 1 << 16;  // the window's size bounds chunks long before this

}  // namespace

BackendWriter::BackendWriter(const Options& options, kv::KvBackend* backend, const Clock* clock,
                             Events events, LogIndex synced)
    : options_(options),
      backend_(backend),
      clock_(clock),
      events_(std::move(events)),
      on_failure_(
          StopProcess("backend write failed; stopping, the log keeps what was acknowledged")),
      queue_(kTasksMax),
      written_(synced),
      synced_(synced) {
  const kv::KvSizes sizes = backend_->Sizes();
  on_disk_ = sizes.on_disk;
  in_use_ = sizes.in_use;
}

BackendWriter::~BackendWriter() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
  SyncIfDue(/*force=*/true);
  for (auto& done : reclaims_) done(absl::CancelledError("the server is stopping"));
}

void BackendWriter::Start() {
  thread_ = std::thread([this] {
    SetThreadName("backend-writer");
    GiveWay();
    while (true) {
      // While space is given back the queue is only looked at: writes go on between the steps.
      const bool taken = reclaims_.empty() ? queue_.WaitTake(&tasks_) : queue_.Take(&tasks_);
      if (taken) Work();
      if (!taken && (reclaims_.empty() || queue_.closed())) break;
      StepReclaim();
    }
  });
}

void BackendWriter::Submit(std::shared_ptr<const engine::FlushChunk> chunk) {
  queue_.PushUnbounded(Task(std::move(chunk)));
}

void BackendWriter::Reclaim(absl::AnyInvocable<void(absl::Status)> done) {
  queue_.PushUnbounded(Task(std::move(done)));
}

void BackendWriter::Run(Job task) { queue_.PushUnbounded(Task(std::move(task))); }

bool BackendWriter::Poll() {
  const bool taken = queue_.Take(&tasks_);
  if (taken) Work();
  return StepReclaim() || taken;
}

// False when there is nothing to give back.
bool BackendWriter::StepReclaim() {
  if (reclaims_.empty() || failed_) return false;
  const absl::StatusOr<kv::ReclaimProgress> progress = backend_->ReclaimStep();
  if (progress.ok() && *progress == kv::ReclaimProgress::kMore) return true;
  UpdateSizes();
  absl::AnyInvocable<void(absl::Status)> done = std::move(reclaims_.front());
  reclaims_.pop_front();
  done(progress.status());
  // Where a full disk left no room for it the backend goes on. After any other failure it is not
  // known what the disk holds.
  if (!absl::IsResourceExhausted(progress.status())) Succeeded(progress.status(), "reclaim");
  return true;
}

bool BackendWriter::Succeeded(const absl::Status& status, std::string_view operation) {
  if (status.ok()) return true;
  failed_ = true;
  on_failure_(operation, status);
  return false;
}

void BackendWriter::Work() {
  size_t first = 0;
  while (first < tasks_.size() && !failed_) {
    if (auto* reclaim = std::get_if<absl::AnyInvocable<void(absl::Status)>>(&tasks_[first])) {
      SyncIfDue(/*force=*/true);
      reclaims_.push_back(std::move(*reclaim));
      ++first;
      continue;
    }
    if (auto* job = std::get_if<Job>(&tasks_[first])) {
      RunJob(std::move(*job));
      ++first;
      continue;
    }
    size_t last = first;
    uint64_t bytes = 0;
    while (last < tasks_.size() && bytes < options_.write_bytes_max) {
      const auto* chunk = std::get_if<std::shared_ptr<const engine::FlushChunk>>(&tasks_[last]);
      if (chunk == nullptr) break;
      bytes += (*chunk)->bytes();
      ++last;
    }
    WriteChunks(first, last);
    first = last;
    SyncIfDue(/*force=*/false);
  }
  tasks_.clear();
  UpdateSizes();
}

void BackendWriter::UpdateSizes() {
  const kv::KvSizes sizes = backend_->Sizes();
  on_disk_.store(sizes.on_disk, std::memory_order_relaxed);
  in_use_.store(sizes.in_use, std::memory_order_relaxed);
}

void BackendWriter::RunJob(Job job) {
  const std::optional<Replaced> replaced = job(*backend_);
  if (!replaced) return;
  backend_ = replaced->backend;
  written_ = synced_ = replaced->applied;
  bytes_since_sync_ = 0;
}

void BackendWriter::WriteChunks(size_t first, size_t last) {
  ops_.clear();
  uint64_t bytes = 0;
  for (size_t i = first; i < last; ++i) {
    const auto& chunk = std::get<std::shared_ptr<const engine::FlushChunk>>(tasks_[i]);
    ops_.insert(ops_.end(), chunk->ops().begin(), chunk->ops().end());
    written_ = std::max(written_, chunk->applied_index());
    bytes += chunk->bytes();
  }
  const int64_t start_ns = clock_->MonotonicNs();
  if (!Succeeded(backend_->Write(ops_), "write")) return;
  write_durations_.Add(clock_->MonotonicNs() - start_ns);
  bytes_since_sync_ += bytes;
  bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  for (size_t i = first; i < last; ++i) {
    events_.flushed(std::get<std::shared_ptr<const engine::FlushChunk>>(tasks_[i])->sequence());
    tasks_[i] = std::shared_ptr<const engine::FlushChunk>();
  }
}

void BackendWriter::SyncIfDue(bool force) {
  const uint64_t entries = written_.value() - synced_.value();
  if (bytes_since_sync_ == 0 || failed_) return;
  const bool due =
      entries >= options_.sync_every_entries && bytes_since_sync_ >= options_.sync_every_bytes;
  if (!force && !due) return;
  if (!Succeeded(backend_->Sync(), "sync")) return;
  synced_ = written_;
  bytes_since_sync_ = 0;
  if (synced_.value() > options_.catchup_entries) {
    events_.log_not_needed(LogIndex(synced_.value() - options_.catchup_entries));
  }
}

kv::KvSizes BackendWriter::sizes() const {
  return {on_disk_.load(std::memory_order_relaxed), in_use_.load(std::memory_order_relaxed)};
}

}  // namespace quorate::server
