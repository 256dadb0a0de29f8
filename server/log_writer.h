// LogWriter: the only thread that touches the log's disk. One sync covers all that arrived while
// the last one ran; when it returns, the replica hears Durable(index). A failed append or sync ends
// the process: nothing that was not synced has been acknowledged, so nothing is lost.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "backends/log/log_store.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/log_entry.h"
#include "consensus/message.h"
#include "server/disk_failure.h"

namespace quorate::server {

// A snapshot took the place of all entries up to `index`: the log begins behind it.
struct LogReset {
  LogIndex index;
  Term term;
  std::function<void()> done;  // on the writer's thread, when that is durable
};

struct LogTask {
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  LogIndex truncate_through;  // 0 = nothing to cut
  // Promises to other members that rest on what is written here and in all tasks before.
  std::vector<consensus::Message> messages;
  std::optional<LogReset> reset;  // alone
};

class LogWriter {
 public:
  // Both are called on the writer's thread.
  struct Events {
    std::function<void(LogIndex index, Term term)> durable;  // after each sync that covered entries
    std::function<void(std::vector<consensus::Message>)> send;
    std::function<void(LogIndex through)> truncated;  // entries up to there are gone
  };
  LogWriter(log::LogStore* log, const Clock* clock, Events events);
  ~LogWriter();  // finishes what was submitted

  // Instead of ending the process. Before Start.
  void OnFailure(DiskFailureHandler handler) { on_failure_ = std::move(handler); }

  void Submit(LogTask task);  // any thread; bounded by the proposals in flight
  void Start();

  // Takes what is there and makes it durable; false = there was nothing. The writer's thread calls
  // it in the server, the simulator's single thread there.
  bool Poll();
  size_t queued() const { return queue_.size(); }

  const ConcurrentHistogram& sync_durations() const { return sync_durations_; }
  const ConcurrentHistogram& append_durations() const { return append_durations_; }

 private:
  void WriteAll();
  // Tasks [first, last) in one append and one sync.
  void WriteBatch(size_t first, size_t last);
  void Announce(std::vector<consensus::Message> messages);
  bool Succeeded(const absl::Status& status, std::string_view operation);

  log::LogStore* const log_;
  const Clock* const clock_;
  const Events events_;
  DiskFailureHandler on_failure_;
  bool failed_ = false;  // writer thread
  BoundedQueue<LogTask> queue_;
  std::vector<LogTask> tasks_;
  std::vector<Entry> entries_;
  ConcurrentHistogram sync_durations_;
  ConcurrentHistogram append_durations_;
  std::thread thread_;
};

}  // namespace quorate::server
