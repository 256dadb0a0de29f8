// EntryLog: what raft sees of the log: the entries that are still needed in memory (not applied,
// not durable, or a tail for peers that lag a little), and the marks
//   applied <= handed <= min(commit, durable),  durable <= written <= last,  commit <= last.
// Not thread-safe.
#pragma once

#include <algorithm>
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
  LogIndex written() const { return written_; }
  LogIndex durable() const { return durable_; }
  LogIndex commit() const { return commit_; }
  LogIndex handed() const { return handed_; }
  LogIndex applied() const { return applied_; }
  LogIndex first_in_memory() const { return first_; }
  // What the entries in memory count for tail_bytes_max.
  uint64_t memory_bytes() const { return memory_bytes_; }
  // Payload of what is not committed yet.
  uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }
  // nullopt outside [first in memory - 1, last].
  std::optional<Term> TermAt(LogIndex index) const;
  const Entry& At(LogIndex index) const;                  // in memory
  bool UpToDate(LogIndex index, Term term) const;         // of another's last entry (Raft §5.4.1)
  bool HasConfChange(LogIndex after, LogIndex to) const;  // in (after, to], as far as in memory

  // Appends behind the last entry.
  void Append(Entry entry);
  // Takes a leader's entries, which follow an entry that both have: conflicting ones are dropped
  // with all after them. CHECKs that nothing committed is replaced.
  void Merge(std::vector<Entry> entries);
  // A sync of entries that were replaced since says nothing of the new ones and is passed over.
  void SetDurable(LogIndex index, Term term);
  // CHECKs that the mark does not pass the end. True when it moved.
  bool Commit(LogIndex index);
  void SetApplied(LogIndex index);
  // A snapshot takes the place of the whole log; all marks stand at its index.
  void Restore(LogIndex index, Term term);

  // Entries appended since the last call, for the log store.
  std::vector<Entry> TakeUnwritten();
  // Entries committed and durable here since the last call, to apply.
  std::vector<Entry> TakeCommitted();
  bool HasUnwritten() const { return written_ < last_index(); }
  bool HasCommitted() const { return std::min(commit_, durable_) > handed_; }
  // Entries [from, ...] up to `bytes_max` (at least one); empty when there is none in memory.
  std::vector<Entry> Slice(LogIndex from, uint64_t bytes_max) const;

  // Forgets the oldest applied and durable entries until what is in memory counts no more than
  // `bytes_max`.
  void Trim(uint64_t bytes_max);

 private:
  void Truncate(LogIndex from);  // drops [from, last]

  std::deque<Entry> entries_;  // first_ .. last
  LogIndex first_;
  Term term_before_first_;
  LogIndex written_;  // given out to the log store
  LogIndex durable_;
  LogIndex commit_;
  LogIndex handed_;  // given out to apply
  LogIndex applied_;
  uint64_t memory_bytes_ = 0;
  uint64_t uncommitted_bytes_ = 0;
};

}  // namespace quorate::consensus
