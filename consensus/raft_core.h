// RaftCore: the state behind Raft, and the steps of each role. The roles' files implement the parts
// named here: follower.cc, candidate.cc, leader.cc; raft.cc has what all share.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <variant>
#include <vector>

#include "consensus/entry_log.h"
#include "consensus/raft.h"

namespace quorate::consensus {

struct Follower {};

struct Candidate {
  bool pre = false;  // asking whether an election could be won (thesis §9.6)
  std::map<MemberId, bool> votes;
};

// What the leader knows of one peer (etcd/raft's tracker).
struct Progress {
  enum class State : uint8_t { kProbe, kReplicate } state = State::kProbe;
  LogIndex match;
  LogIndex next{1};
  bool probe_sent = false;         // kProbe: one message at a time
  std::deque<LogIndex> in_flight;  // kReplicate: last index of each append not answered
  bool active = false;             // heard from since the last check of the quorum
};

struct Leader {
  std::map<MemberId, Progress> peers;  // voters and learners but this member
  LogIndex first_own;                  // the no-op of this term
  struct PendingRead {
    uint64_t context;
    LogIndex index;
    std::set<MemberId> acknowledged;
  };
  std::deque<PendingRead> reads;  // in order of asking
  uint32_t ticks_since_quorum_check = 0;
};

class RaftCore {
 public:
  RaftCore(const Config& config, InitialState initial, Random* random);

  void Tick();
  absl::Status Propose(std::vector<Bytes> payloads);
  void Receive(Message message);
  void Durable(LogIndex index, Term term);
  void ReadIndex(uint64_t context);
  absl::StatusOr<ConfState> ApplyConfChange(const ConfChange& change);

  Output TakeOutput();
  bool HasOutput() const;

  bool leader_ready() const;
  Role role() const;

  const Config config;
  Random* const random;
  EntryLog log;
  HardState hard_state;  // term and vote as they are; commit as last given out
  MemberId leader;
  ConfState conf;
  std::variant<Follower, Candidate, Leader> state = Follower{};
  LogIndex compacted;

 private:
  // --- all roles (raft.cc)
  bool IsVoter(MemberId id) const;
  bool Promotable() const { return IsVoter(config.self); }
  size_t Quorum() const { return conf.voters.size() / 2 + 1; }
  void ResetElectionTimer();
  void BecomeFollower(Term term, MemberId leader);
  void Send(Message message);
  // Promises: leave only when what they rest on is durable.
  void SendAfterDurable(Message message);
  void HandleHigherTerm(const Message& message);
  bool IgnoresVoteRequest(const Message& message) const;
  void HandleVoteRequest(const Message& message);

  // --- follower.cc
  void HandleAppend(const Message& message);
  void HandleHeartbeat(const Message& message);

  // --- candidate.cc
  void Campaign(bool pre);
  void HandleVoteResponse(const Message& message);

  // --- leader.cc
  void BecomeLeader();
  void TickLeader();
  void SendAppend(MemberId to, Progress& peer);
  void SendAppendsToAll();
  void SendHeartbeats(uint64_t read_context);
  void HandleAppendResponse(const Message& message);
  void HandleHeartbeatResponse(const Message& message);
  void AdvanceCommit();
  void AnswerReads();
  void DropReads();
  bool QuorumActive();

  Output out_;
  HardState written_;  // last hard state given out
  uint32_t election_elapsed_ = 0;
  uint32_t heartbeat_elapsed_ = 0;
  uint32_t election_timeout_ = 0;
};

}  // namespace quorate::consensus
