#include "server/log_writer.h"

#include <utility>

#include "base/log.h"
#include "base/thread_name.h"
#include "base/thread_turns.h"
#include "transport/event_loop.h"

namespace quorate::server {
namespace {

// Tasks waiting for the disk; each is one batch of the replica, whose proposals are bounded.
constexpr size_t kTasksMax = 1 << 20;
// Entries of a batch up to which the writer's thread also sends what rests on them.
constexpr size_t kServeHereMax = 16;

}  // namespace

LogWriter::LogWriter(log::LogStore* log, const Clock* clock, Events events)
    : log_(log),
      clock_(clock),
      events_(std::move(events)),
      on_failure_(
          StopProcess("log write failed; stopping before anything unsynced is acknowledged")),
      queue_(kTasksMax) {}

LogWriter::~LogWriter() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

void LogWriter::Start() {
  thread_ = std::thread([this] {
    SetThreadName("log-writer");
    AskForShortTurns();
    while (queue_.WaitTake(&tasks_)) WriteAll();
  });
}

void LogWriter::Submit(LogTask task) { queue_.PushUnbounded(std::move(task)); }

bool LogWriter::Poll() {
  if (!queue_.Take(&tasks_)) return false;
  WriteAll();
  return true;
}

bool LogWriter::Succeeded(const absl::Status& status, std::string_view operation) {
  if (status.ok()) return true;
  failed_ = true;
  on_failure_(operation, status);
  return false;
}

void LogWriter::WriteAll() {
  size_t first = 0;
  while (first < tasks_.size() && !failed_) {
    size_t last = first;
    while (last < tasks_.size() && !tasks_[last].reset) ++last;
    if (last > first) {
      WriteBatch(first, last);
    } else {
      const LogReset& reset = *tasks_[last++].reset;
      if (!Succeeded(log_->Reset(reset.index, reset.term, nullptr), "reset")) return;
      reset.done();
    }
    first = last;
  }
}

void LogWriter::Announce(std::vector<consensus::Message> messages) {
  transport::WakeScope wakes;
  // A few messages are written here; of many the next sync is in more of a hurry.
  if (entries_.size() <= kServeHereMax) wakes.ServeLoops();
  if (!messages.empty()) events_.send(std::move(messages));
  if (!entries_.empty()) events_.durable(entries_.back().index, entries_.back().term);
}

void LogWriter::WriteBatch(size_t first, size_t last) {
  entries_.clear();
  const HardState* hard_state = nullptr;
  LogIndex truncate;
  std::vector<consensus::Message> messages;
  for (size_t i = first; i < last; ++i) {
    LogTask& task = tasks_[i];
    for (Entry& entry : task.entries) entries_.push_back(std::move(entry));
    if (task.hard_state) hard_state = &*task.hard_state;
    truncate = std::max(truncate, task.truncate_through);
    for (consensus::Message& message : task.messages) messages.push_back(std::move(message));
  }
  if (!entries_.empty() || hard_state != nullptr) {
    const int64_t start_ns = clock_->MonotonicNs();
    if (!Succeeded(log_->Append(entries_, hard_state), "append")) return;
    const int64_t appended_ns = clock_->MonotonicNs();
    if (!Succeeded(log_->Sync(), "sync")) return;
    append_durations_.Add(appended_ns - start_ns);
    sync_durations_.Add(clock_->MonotonicNs() - appended_ns);
  }
  Announce(std::move(messages));
  if (truncate.value() == 0) return;
  if (!Succeeded(log_->TruncatePrefix(truncate), "truncate")) return;
  events_.truncated(log_->first_index().Prev());
}

}  // namespace quorate::server
