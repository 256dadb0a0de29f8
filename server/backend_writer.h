// BackendWriter: brings sealed chunks of applied changes to the backend in the background, syncs it
// now and then, and says up to where the log may be cut. Nobody waits for it but Defragment and
// physical compaction.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "backends/kv/kv_backend.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/ids.h"
#include "engine/engine.h"
#include "server/disk_failure.h"

namespace quorate::server {

class BackendWriter {
 public:
  struct Options {
    uint64_t write_bytes_max = 8 << 20;   // chunks that share one backend write
    uint64_t sync_every_entries = 10000;  // etcd's --snapshot-count
    uint64_t sync_every_bytes = 256 << 20;
    uint64_t catchup_entries = 5000;  // log kept behind the synced index
  };
  struct Events {
    std::function<void(uint64_t sequence)> flushed;        // chunk is readable from the backend
    std::function<void(LogIndex through)> log_not_needed;  // entries up to here may go
  };

  BackendWriter(const Options& options, kv::KvBackend* backend, const Clock* clock, Events events,
                LogIndex synced);
  ~BackendWriter();  // writes and syncs what was submitted

  // Instead of ending the process. Before Start.
  void OnFailure(DiskFailureHandler handler) { on_failure_ = std::move(handler); }

  void Start();
  void Submit(std::shared_ptr<const engine::FlushChunk> chunk);  // any thread
  // Gives space back (Defragment), a step at a time with writes between; `done` is called on the
  // writer's thread, with kCancelled when the writer ends before.
  void Reclaim(absl::AnyInvocable<void(absl::Status)> done);
  // Calls `task` on the writer's thread with the backend, which then holds all that was submitted
  // before. It answers the backend to go on with and the index that it stands at (both durable), or
  // nothing to go on as it is.
  struct Replaced {
    kv::KvBackend* backend;
    LogIndex applied;
  };
  void Run(absl::AnyInvocable<std::optional<Replaced>(kv::KvBackend&)> task);

  bool Poll();  // false = there was nothing to do
  size_t queued() const { return queue_.size(); }

  kv::KvSizes sizes() const;  // any thread, as of the last write
  const ConcurrentHistogram& write_durations() const { return write_durations_; }
  uint64_t bytes_written() const { return bytes_written_.load(std::memory_order_relaxed); }

 private:
  using Job = absl::AnyInvocable<std::optional<Replaced>(kv::KvBackend&)>;
  using Task = std::variant<std::shared_ptr<const engine::FlushChunk>,
                            absl::AnyInvocable<void(absl::Status)>, Job>;
  void Work();
  void RunJob(Job job);
  void WriteChunks(size_t first, size_t last);
  bool StepReclaim();
  void UpdateSizes();
  void SyncIfDue(bool force);
  bool Succeeded(const absl::Status& status, std::string_view operation);

  const Options options_;
  kv::KvBackend* backend_;
  const Clock* const clock_;
  const Events events_;
  DiskFailureHandler on_failure_;
  bool failed_ = false;  // writer thread
  BoundedQueue<Task> queue_;
  std::vector<Task> tasks_;
  std::vector<kv::WriteOp> ops_;
  std::deque<absl::AnyInvocable<void(absl::Status)>> reclaims_;  // the first is under way
  LogIndex written_;
  LogIndex synced_;
  uint64_t bytes_since_sync_ = 0;
  std::atomic<uint64_t> on_disk_{0};
  std::atomic<uint64_t> in_use_{0};
  std::atomic<uint64_t> bytes_written_{0};
  ConcurrentHistogram write_durations_;
  std::thread thread_;
};

}  // namespace quorate::server
