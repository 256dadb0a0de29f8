// RaftCore: the state behind Raft, and the steps of each role and theme. Each group of methods is
// implemented in the file that its heading names.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "consensus/entry_log.h"
#include "consensus/progress.h"
#include "consensus/quorum.h"
#include "consensus/raft.h"

namespace quorate::consensus {

struct Follower {};

struct Candidate {
  bool pre = false;  // asking whether an election could be won (thesis §9.6)
  std::map<MemberId, bool> votes;
};

struct Leader {
  std::map<MemberId, Progress> peers;  // voters and learners but this member
  LogIndex first_own;                  // the no-op of this term
  // Elected by its own vote alone: nobody may hear of the term before that vote is durable, or a
  // crash could bring a second leader of the same term.
  bool unheard = false;
  bool sends_due = false;  // something changed that may let appends go
  LogIndex pending_conf;   // a change may be proposed once this is applied

  struct PendingRead {
    MemberId from;
    uint64_t context = 0;  // of this member's own
    Bytes forwarded;       // of another's
    LogIndex index;        // commit when it was asked
    uint64_t round = 0;    // of heartbeats, that confirms it
  };
  std::deque<PendingRead> reads;  // in order of asking, so also of rounds
  uint64_t rounds_sent = 0;
  bool round_due = false;

  MemberId transferee;
  uint32_t transfer_ticks = 0;
  bool leaves = false;       // it has no vote any more, and looks for who takes over
  bool steps_aside = false;  // the disk stalls: follower when the transfer ends, whatever its end
};

enum class Campaign : uint8_t {
  kPreVote,   // could an election be won?
  kVote,      // an election
  kTransfer,  // an election that the leader asked for: stickiness does not hold
};

class RaftCore {
 public:
  RaftCore(const Config& config, InitialState initial, Random* random);

  void Tick();
  void Receive(Message message);
  absl::Status Propose(std::vector<Entry> entries);  // type and data set
  absl::Status ProposeConfChange(const ConfChange& change);
  void Durable(LogIndex index, Term term);
  void Applied(LogIndex index);
  absl::StatusOr<ConfState> ApplyConfChange(const ConfChange& change);
  void Compacted(LogIndex index);
  void LogRead(LogReadAnswer answer);
  void SnapshotReady(MemberId to, SnapshotMeta meta);
  void ReportSnapshot(MemberId to, SnapshotResult result);
  void SnapshotInstalled(const SnapshotMeta& meta);
  void SnapshotAbandoned(const SnapshotMeta& meta);
  void ReportUnreachable(MemberId id);
  absl::Status TransferLeadership(MemberId to);
  void ReadIndex(uint64_t context);

  Output TakeOutput();
  bool HasOutput() const;

  bool leader_ready() const;
  Role role() const;
  Status status() const;

  const Config config;
  Random* const random;
  EntryLog log;
  HardState hard_state;  // term and vote as they are; commit as last given out
  MemberId leader;
  ConfState conf;
  std::variant<Follower, Candidate, Leader> state = Follower{};
  std::optional<InstallRequest> installing;

 private:
  // --- all roles: raft_core.cc
  bool Promotable() const { return conf.IsVoter(config.self) && !installing; }
  Leader* leads() { return std::get_if<Leader>(&state); }
  const Leader* leads() const { return std::get_if<Leader>(&state); }
  void ResetElectionTimer();
  void BecomeFollower(Term term, MemberId new_leader);
  void SetLeader(MemberId id);
  void Send(Message message);
  // Promises: leave only when what they rest on is durable.
  void SendAfterDurable(Message message);
  void Address(Message* message) const;
  void HandleHigherTerm(const Message& message);
  void AnswerLowerTerm(const Message& message);
  void Dispatch(Message message);

  // --- elections: candidate.cc
  void StartCampaign(Campaign kind);
  void RunCampaign(Campaign kind);
  bool IgnoresVoteRequest(const Message& message) const;
  void HandleVoteRequest(const Message& message);
  void HandleVoteResponse(const Message& message);

  // --- a leader's messages: follower.cc
  void HearLeader(const Message& message);
  void HandleAppend(Message message);
  void HandleHeartbeat(const Message& message);

  // --- leader.cc
  void BecomeLeader();
  void TickLeader();
  bool QuorumActive();
  bool Unheard() const;
  void SendHeartbeats(uint64_t round);
  void HandleHeartbeatResponse(const Message& message);
  void AdvanceCommit();

  // --- sending the log: replication.cc
  void SendAllDue();
  void SendDue(MemberId to, Progress& peer);
  bool SendEntries(MemberId to, Progress& peer);
  bool SendEmpty(MemberId to, Progress& peer);
  void SendAppend(MemberId to, Progress& peer, Term before, std::vector<Entry> entries);
  void AskLogRead(MemberId to, Progress& peer);
  std::optional<Term> TermBefore(const Progress& peer) const;
  LogIndex AgreedPlace(const Message& rejection, LogIndex match) const;
  Progress* PeerHeard(MemberId id);
  void HandleAppendResponse(const Message& message);
  void HandleRejection(const Message& message, Progress& peer);

  // --- proposals.cc
  absl::Status Accept(std::vector<Entry> entries);
  absl::Status CheckConfChange(const ConfChange& change) const;
  void HandlePropose(Message message);

  // --- membership.cc
  void FollowConf();
  void MaybeLeaveJoint();

  // --- snapshot.cc
  void HandleSnapshot(const Message& message);

  // --- transfer.cc
  void StartTransfer(MemberId to);
  void TickTransfer();
  void TellTransferee();
  void HandleTransferLeader(const Message& message);
  void HandleTimeoutNow();
  MemberId MostUpToDateVoter() const;
  void TickDisk();
  bool DiskStalled() const;

  // --- read_index.cc
  void SendReadRound();
  void AnswerReads();
  void DropReads();
  void DropForwardedReads();
  void TickForwardedReads();
  void HandleReadIndex(const Message& message);
  void HandleReadIndexResponse(const Message& message);

  Output out_;
  HardState written_;  // last hard state given out
  uint32_t election_elapsed_ = 0;
  uint32_t heartbeat_elapsed_ = 0;
  uint32_t election_timeout_ = 0;
  LogIndex compacted_;  // the log store has nothing up to here
  uint64_t log_reads_asked_ = 0;
  uint32_t disk_waits_ticks_ =
      0;  // since the log store made progress, while it has something to do
  std::optional<Term> late_transfer_;  // told to campaign while a change was still to be applied

  struct ForwardedRead {
    uint64_t context;
    uint32_t ticks;
  };
  std::deque<ForwardedRead> forwarded_reads_;
};

}  // namespace quorate::consensus
