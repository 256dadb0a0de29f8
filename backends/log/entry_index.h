// EntryIndex: where each entry of the log lies and in which term, in 8 bytes an entry: terms and
// segments change rarely, so they are kept as runs. Terms are found in O(log runs).
// Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/ids.h"

namespace quorate::log {

struct EntryPlace {
  Term term;
  uint64_t segment = 0;  // sequence
  uint64_t offset = 0;   // in the segment's file, a multiple of 8
  uint32_t length = 0;   // of the payload
};

class EntryIndex {
 public:
  // Begins anew, without entries.
  void Reset(LogIndex first, Term term_before_first);

  LogIndex first() const { return first_; }
  LogIndex last() const { return LogIndex(first_.value() + slots_.size() - 1); }
  Term term_before_first() const { return term_before_first_; }
  bool Has(LogIndex index) const { return index >= first_ && index <= last(); }

  // `index` in [first, last + 1]; what stood there, and all after, is dropped.
  void Put(LogIndex index, const EntryPlace& place);
  // Another entry took the place of one before `first`, with all that followed: none is left.
  void PutBeforeFirst(LogIndex index, Term term);
  // Drops entries up to `index`, which is in [first - 1, last].
  void DropThrough(LogIndex index);

  EntryPlace At(LogIndex index) const;               // CHECKs Has(index)
  std::optional<Term> TermAt(LogIndex index) const;  // nullopt outside [first - 1, last]

 private:
  struct Slot {
    uint32_t offset_words;
    uint32_t length;
  };
  // Entries from `first` up to the next run are in this term and segment.
  struct Run {
    LogIndex first;
    Term term;
    uint64_t segment;
  };
  const Run& RunOf(LogIndex index) const;

  LogIndex first_{1};
  Term term_before_first_;
  std::deque<Slot> slots_;
  std::deque<Run> runs_;  // by first
};

}  // namespace quorate::log
