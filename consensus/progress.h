// What a leader knows of one peer: how far its log goes, and what is on its way to it (etcd/raft's
// tracker). Plain values; the leader's files decide.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "base/ids.h"
#include "consensus/raft.h"

namespace quorate::consensus {

// The appends that are sent and not answered, bounded in number and bytes.
class InFlight {
 public:
  void Add(LogIndex last, uint64_t bytes) {
    appends_.push_back({last, bytes});
    bytes_ += bytes;
  }
  // An answer for `index` stands for all appends that end there or before.
  void FreeThrough(LogIndex index) {
    while (!appends_.empty() && appends_.front().last <= index) {
      bytes_ -= appends_.front().bytes;
      appends_.pop_front();
    }
  }
  void Clear() {
    appends_.clear();
    bytes_ = 0;
  }
  // The bytes are a threshold: an append may start below it whatever its size, so that an entry
  // larger than the bound passes too.
  bool Full(const Config& config) const {
    return appends_.size() >= config.appends_in_flight_max ||
           bytes_ >= config.append_bytes_in_flight_max;
  }
  size_t size() const { return appends_.size(); }
  uint64_t bytes() const { return bytes_; }
  LogIndex last() const { return appends_.empty() ? LogIndex(0) : appends_.back().last; }

 private:
  struct Append {
    LogIndex last;
    uint64_t bytes;
  };
  std::deque<Append> appends_;
  uint64_t bytes_ = 0;
};

struct Progress {
  ReplicationState state = ReplicationState::kProbe;
  LogIndex match;        // known to be durable there
  LogIndex next{1};      // next > match, but for a snapshot on its way
  LogIndex told_commit;  // the highest commit that it can have heard of
  bool active = false;   // heard from since the last check of the quorum
  bool poke = false;     // an append is due even if it carries nothing: did the last ones arrive?
  InFlight in_flight;    // kReplicate

  // kProbe: nothing more until an answer or, as it may be lost, the answer to a heartbeat. A probe
  // at the same place is repeated without its entries.
  bool paused = false;
  LogIndex probed_next;

  // Term of the entry before `next`, for when that is no longer in memory.
  LogIndex before_index;
  Term before_term;

  // The log store is being read for it. One read at a time.
  uint64_t log_read = 0;  // id; 0 = none
  LogIndex log_read_first;

  // kSnapshot
  LogIndex pending_snapshot;    // 0 = the owner has none yet
  bool snapshot_asked = false;  // the owner knows that one is wanted

  uint64_t read_round = 0;  // newest round of heartbeats that it answered

  void BecomeProbe() {
    const LogIndex after_snapshot =
        state == ReplicationState::kSnapshot ? pending_snapshot.Next() : LogIndex(0);
    Enter(ReplicationState::kProbe);
    next = std::max(match.Next(), after_snapshot);
    told_commit = std::min(told_commit, next.Prev());
  }
  void BecomeReplicate() {
    Enter(ReplicationState::kReplicate);
    next = match.Next();
  }
  void BecomeSnapshot() { Enter(ReplicationState::kSnapshot); }

 private:
  void Enter(ReplicationState entered) {
    state = entered;
    in_flight.Clear();
    paused = poke = snapshot_asked = false;
    probed_next = pending_snapshot = LogIndex(0);
    log_read = 0;
  }
};

}  // namespace quorate::consensus
