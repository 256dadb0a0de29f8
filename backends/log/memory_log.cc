// The log as a plain container: tests, the simulator, and the reference of the conformance suite.

#include <algorithm>
#include <deque>
#include <mutex>
#include <vector>

#include "backends/log/log_store.h"
#include "backends/log/segment.h"
#include "base/check.h"
#include "base/text.h"

namespace quorate::log {
namespace {

class MemoryLog final : public LogStore {
 public:
  explicit MemoryLog(const LogIdentity& identity) : identity_(identity) {}

  absl::Status Append(std::span<const Entry> entries, const HardState* hard_state) override {
    std::lock_guard lock(mutex_);
    for (const Entry& entry : entries) {
      QR_CHECK(entry.index >= first_ && entry.index <= Last().Next());
      entries_.resize(entry.index.value() - first_.value());
      entries_.push_back(entry);
      stats_.bytes_appended += entry.data.size();
    }
    if (hard_state != nullptr) hard_state_ = *hard_state;
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    std::lock_guard lock(mutex_);
    ++stats_.syncs;
    return absl::OkStatus();
  }
  absl::Status TruncatePrefix(LogIndex index) override {
    std::lock_guard lock(mutex_);
    while (!entries_.empty() && first_ <= index) {
      term_before_first_ = entries_.front().term;
      entries_.pop_front();
      ++first_;
    }
    return absl::OkStatus();
  }
  absl::Status Reset(LogIndex index, Term term, const HardState* hard_state) override {
    std::lock_guard lock(mutex_);
    hard_state_ =
        HardStateAfterReset(hard_state == nullptr ? hard_state_ : *hard_state, index, term);
    entries_.clear();
    first_ = index.Next();
    term_before_first_ = term;
    return absl::OkStatus();
  }
  absl::Status Read(LogIndex first, LogIndex last,
                    absl::FunctionRef<bool(const Entry&)> visitor) const override {
    std::vector<Entry> entries;
    {
      std::lock_guard lock(mutex_);
      if (first <= last && (first < first_ || last > Last())) {
        return absl::OutOfRangeError(StrCat("log entries ", first.value(), " to ", last.value(),
                                            " are not in [", first_.value(), ", ", Last().value(),
                                            "]"));
      }
      for (LogIndex index = first; index <= last; ++index) {
        entries.push_back(entries_[index.value() - first_.value()]);
      }
    }
    for (const Entry& entry : entries) {
      if (!visitor(entry)) break;
    }
    return absl::OkStatus();
  }
  std::optional<Term> TermAt(LogIndex index) const override {
    std::lock_guard lock(mutex_);
    if (index == first_.Prev()) return term_before_first_;
    if (index < first_ || index > Last()) return std::nullopt;
    return entries_[index.value() - first_.value()].term;
  }
  LogIndex first_index() const override {
    std::lock_guard lock(mutex_);
    return first_;
  }
  LogIndex last_index() const override {
    std::lock_guard lock(mutex_);
    return Last();
  }
  HardState hard_state() const override {
    std::lock_guard lock(mutex_);
    return hard_state_;
  }
  LogIdentity identity() const override { return identity_; }
  LogStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  LogIndex Last() const { return LogIndex(first_.value() + entries_.size() - 1); }

  const LogIdentity identity_;
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;
  LogIndex first_{1};
  Term term_before_first_;
  HardState hard_state_;
  LogStats stats_;
};

}  // namespace

std::unique_ptr<LogStore> CreateMemoryLog(const LogIdentity& identity) {
  return std::make_unique<MemoryLog>(identity);
}

}  // namespace quorate::log
