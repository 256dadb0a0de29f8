// What must hold in a group of members at any time, and what may change between two looks: Raft's
// five properties (Raft, figure 3) and the marks of one member. Tests and the simulator look after
// every step. Reads the members only.
//
// Knows each member by its id and remembers what it saw, also of those that are down. Costs time in
// proportion to what changed. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "consensus/raft.h"

namespace quorate::consensus {

class RaftInvariants {
 public:
  // Looks at the members that run. kInternal with the first violation: which member, which rule.
  absl::Status Look(const std::vector<const Raft*>& running);
  // A message leaves its sender: votes are promises, also beyond a crash.
  absl::Status Sent(const Message& message);
  // The member lost its memory, and what was not durable; the next look at it is its restart.
  void Crashed(MemberId id);
  // Its log has synced up to `index`; its raft may hear of it later, or never.
  void Synced(MemberId id, LogIndex index);

  // The highest index that any member knew to be committed.
  LogIndex committed() const { return history_end_; }

 private:
  struct Member {
    bool running = false;  // seen since its last start
    bool crashed = false;
    Role role = Role::kFollower;
    Term term;
    MemberId vote;
    LogIndex commit;
    LogIndex applied;
    LogIndex durable;
    LogIndex synced;
    LogIndex OnDisk() const { return std::max(durable, synced); }
    ConfState conf;
    LogIndex base;           // terms[0] is of base + 1
    std::deque<Term> terms;  // of the entries seen
    LogIndex last() const { return LogIndex(base.value() + terms.size()); }
    std::optional<Term> TermAt(LogIndex index) const;
  };
  // An entry is the same wherever index and term are the same, with all before it (log matching).
  struct Identity {
    Term before;
    uint64_t hash = 0;
    bool operator==(const Identity&) const = default;
  };
  // What a look compares with.
  struct Before {
    bool running = false;
    LogIndex commit;
    ConfState conf;  // where a leader's commit moved
  };
  struct Committed {
    Term term;      // of the entry
    Term known_in;  // the term of the member that first knew
  };

  void State(const class RaftCore& core);
  void LeaderState(const class RaftCore& core);
  void Delta(const class RaftCore& core, const Member& before);
  void FollowLog(const class RaftCore& core, Member* member);
  void FollowCommit(const class RaftCore& core, const Before& before);
  void CommitHasQuorum(const class RaftCore& core, const ConfState& conf_before);
  void Leads(const class RaftCore& core);
  void Forget();
  void Require(bool holds, MemberId id, std::string_view rule);

  std::map<MemberId, Member> members_;
  std::map<Term, MemberId> leaders_;
  std::map<std::pair<LogIndex, Term>, Identity> entries_;
  std::map<LogIndex, Committed> history_;
  LogIndex history_end_;
  std::map<std::pair<MemberId, Term>, MemberId> votes_sent_;
  std::string violation_;  // the first
};

}  // namespace quorate::consensus
