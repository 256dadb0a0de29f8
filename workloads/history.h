// History: what happened at each revision of a phase, gathered from acknowledgements, reads and
// watch events. Every change of a run touches one key, so a revision is one fact: this key was put
// (with this value) or deleted. Two sources that disagree about a revision are a wrong answer.
//
// Any thread may call Acknowledged and Seen; Reset and the walks while nobody else does.
// Memory: 32 bytes per revision, in blocks; at most kRevisionsMax per phase.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "workloads/check_log.h"

namespace quorate::workload {

// A key of any key space of the workload.
using KeyId = uint64_t;

struct Change {
  int64_t revision = 0;
  KeyId key = 0;
  bool deleted = false;
  uint64_t tag = 0;  // of the value (ValueHeader::tag); 0 for a delete
  // A guarded change: the revision that its guard named; -1 = not guarded.
  int64_t guard = -1;
};

class History {
 public:
  static constexpr int64_t kBlockRevisions = 1 << 14;
  static constexpr int64_t kBlocks = 1 << 12;
  static constexpr int64_t kRevisionsMax = kBlockRevisions * kBlocks;  // 67 million, 2 GiB

  explicit History(CheckLog* checks);
  ~History();

  // Forgets everything; changes up to and including `base` are no longer looked at.
  void Reset(int64_t base);
  int64_t base() const { return base_; }
  // A revision came that is too far above the base to be kept.
  bool full() const { return full_.load(std::memory_order_relaxed); }
  int64_t newest() const { return newest_.load(std::memory_order_relaxed); }
  uint64_t changes() const { return changes_.load(std::memory_order_relaxed); }

  // The server answered a write with this revision. False when that contradicts what is known.
  bool Acknowledged(const Change& change);
  // A read or an event showed this.
  bool Seen(const Change& change);

  // In order of revision.
  template <class F>
  void ForEach(F&& each) const {
    for (int64_t revision = base_ + 1; revision <= newest(); ++revision) {
      const Slot* slot = Find(revision);
      if (slot == nullptr) {
        revision += kBlockRevisions - 1 - (revision - base_ - 1) % kBlockRevisions;
        continue;
      }
      const uint64_t subject = slot->subject.load(std::memory_order_relaxed);
      if (subject == 0) continue;
      each(Change{revision, KeyOf(subject), DeletedOf(subject),
                  slot->tag.load(std::memory_order_relaxed),
                  slot->guard.load(std::memory_order_relaxed)});
    }
  }

 private:
  struct Slot {
    std::atomic<uint64_t> subject{0};  // (key + 1) << 1 | deleted; 0 = nothing known
    std::atomic<uint64_t> tag{0};
    std::atomic<int64_t> guard{-1};
    std::atomic<bool> acknowledged{false};
  };
  struct Block {
    Slot slots[kBlockRevisions];
  };

  static uint64_t SubjectOf(const Change& c) { return (c.key + 1) << 1 | (c.deleted ? 1 : 0); }
  static KeyId KeyOf(uint64_t subject) { return (subject >> 1) - 1; }
  static bool DeletedOf(uint64_t subject) { return (subject & 1) != 0; }

  const Slot* Find(int64_t revision) const;
  Slot* FindOrMake(int64_t revision);
  bool Record(const Change& change, Slot* slot);

  CheckLog* const checks_;
  int64_t base_ = 0;
  std::vector<std::atomic<Block*>> blocks_;
  std::atomic<int64_t> newest_{0};
  std::atomic<uint64_t> changes_{0};
  std::atomic<bool> full_{false};
};

}  // namespace quorate::workload
