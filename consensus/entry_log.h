// EntryLog: what raft sees of the log: the entries that are still needed in memory (not applied,
// not durable, or wanted by peers), and the marks ordered >= durable, commit, applied. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/log_entry.h"
#include "consensus/raft.h"

namespace quorate::consensus {

class EntryLog {
 public:
  explicit EntryLog(const InitialState& initial);

  LogIndex last_index() const { return LogIndex(first_.value() + entries_.size() - 1); }
  Term last_term() const { return *TermAt(last_index()); }
  LogIndex durable() const { return durable_; }
  LogIndex commit() const { return commit_; }
  LogIndex first_in_memory() const { return first_; }
  // nullopt outside [first in memory - 1, last].
  std::optional<Term> TermAt(LogIndex index) const;
  bool UpToDate(LogIndex index, Term term) const;  // of another's last entry (Raft §5.4.1)

  // Appends behind the last entry.
  void Append(Entry entry);
  // Takes a leader's entries that follow index/term of ours: conflicting ones are dropped with all
  // after them. CHECKs that nothing committed is replaced.
  void Merge(const std::vector<Entry>& entries);
  void SetDurable(LogIndex index, Term term);
  // CHECKs that the mark does not pass the end. True when it moved.
  bool Commit(LogIndex index);

  // Entries appended since the last call, for the log store.
  std::vector<Entry> TakeUnwritten();
  // Entries committed and durable here since the last call, to apply.
  std::vector<Entry> TakeCommitted();
  bool HasUnwritten() const { return written_ < last_index(); }
  bool HasCommitted() const { return std::min(commit_, durable_) > handed_; }
  // Entries [from, ...] up to `bytes_max` (at least one); empty when there is none in memory.
  std::vector<Entry> Slice(LogIndex from, uint64_t bytes_max) const;

  uint64_t UncommittedBytes() const { return uncommitted_bytes_; }
  // Forgets entries that are applied, durable and <= index.
  void Forget(LogIndex index);

 private:
  const Entry& At(LogIndex index) const;

  std::deque<Entry> entries_;  // first_ .. last
  LogIndex first_;
  Term term_before_first_;
  LogIndex durable_;
  LogIndex commit_;
  LogIndex handed_;   // given out to apply
  LogIndex written_;  // given out to the log store
  uint64_t uncommitted_bytes_ = 0;
};

}  // namespace quorate::consensus
