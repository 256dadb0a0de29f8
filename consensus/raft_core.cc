// What all roles share: construction, time, terms, dispatch and output.

#include "consensus/raft_core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quorate::consensus {

RaftCore::RaftCore(const Config& core_config, InitialState initial, Random* core_random)
    : config(core_config),
      random(core_random),
      log(initial),
      hard_state(initial.hard_state),
      conf(std::move(initial.conf_state)),
      written_(initial.hard_state) {
  QR_CHECK(config.self.value() != 0);
  QR_CHECK(config.heartbeat_ticks > 0 && config.election_ticks > config.heartbeat_ticks);
  QR_CHECK(config.appends_in_flight_max > 0 && config.append_bytes_in_flight_max > 0);
  for (auto* ids : {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
    std::sort(ids->begin(), ids->end());
  }
  // A crash can keep entries and lose the hard state that was written with them. Nothing of that
  // write was answered to anybody, so this member gave no vote in the term of those entries.
  if (log.last_term() > hard_state.term) {
    hard_state.term = log.last_term();
    hard_state.vote = MemberId(0);
  }
  ResetElectionTimer();
  // A member that is alone has nobody to wait for (etcd's initial election tick advance).
  if (config.initial_election_tick_advance && conf.voters.size() == 1 && Promotable()) {
    election_elapsed_ = election_timeout_;
  }
}

void RaftCore::ResetElectionTimer() {
  election_elapsed_ = 0;
  election_timeout_ =
      config.election_ticks + static_cast<uint32_t>(random->Below(config.election_ticks));
}

Role RaftCore::role() const {
  if (leads() != nullptr) return Role::kLeader;
  if (const auto* candidate = std::get_if<Candidate>(&state)) {
    return candidate->pre ? Role::kPreCandidate : Role::kCandidate;
  }
  return Role::kFollower;
}

bool RaftCore::leader_ready() const {
  return leads() != nullptr && log.commit() >= leads()->first_own;
}

void RaftCore::Tick() {
  ++election_elapsed_;
  TickDisk();
  TickForwardedReads();
  if (leads() != nullptr) return TickLeader();
  if (Promotable() && election_elapsed_ >= election_timeout_) {
    StartCampaign(config.pre_vote ? Campaign::kPreVote : Campaign::kVote);
  }
}

void RaftCore::Address(Message* message) const {
  if (message->from.value() == 0) message->from = config.self;
  // Wishes of a follower hold in whatever term they arrive.
  const bool termless =
      message->type == MessageType::kPropose || message->type == MessageType::kReadIndex;
  if (message->term.value() == 0 && !termless) message->term = hard_state.term;
}

void RaftCore::Send(Message message) {
  Address(&message);
  out_.messages.push_back(std::move(message));
}

void RaftCore::SendAfterDurable(Message message) {
  Address(&message);
  out_.messages_after_durable.push_back(std::move(message));
}

void RaftCore::SetLeader(MemberId id) {
  if (leader == id) return;
  DropForwardedReads();
  leader = id;
}

void RaftCore::BecomeFollower(Term term, MemberId new_leader) {
  QR_CHECK(term >= hard_state.term);
  DropReads();
  if (term > hard_state.term) {
    hard_state.term = term;
    hard_state.vote = MemberId(0);
  }
  state = Follower{};
  SetLeader(new_leader);
  ResetElectionTimer();
}

void RaftCore::HandleHigherTerm(const Message& message) {
  if (message.type == MessageType::kPreVote) return;  // asks only; nobody's term moves
  // Granted for a term that is to come; this member goes there when a quorum agrees.
  if (message.type == MessageType::kPreVoteResponse && !message.reject) return;
  const bool from_leader = message.type == MessageType::kAppend ||
                           message.type == MessageType::kHeartbeat ||
                           message.type == MessageType::kSnapshot;
  BecomeFollower(message.term, from_leader ? message.from : MemberId(0));
}

// Tells a leader or pre-candidate of the past that time went on; else it might never hear of it,
// as its requests are ignored and nobody else's term grows.
void RaftCore::AnswerLowerTerm(const Message& message) {
  if (message.type == MessageType::kHeartbeat || message.type == MessageType::kAppend ||
      message.type == MessageType::kSnapshot) {
    Send({.type = MessageType::kAppendResponse, .to = message.from});
  } else if (message.type == MessageType::kPreVote) {
    Send({.type = MessageType::kPreVoteResponse, .to = message.from, .reject = true});
  }
}

void RaftCore::Receive(Message message) {
  const bool termless = message.term.value() == 0;
  if (termless) {
    if (message.type != MessageType::kPropose && message.type != MessageType::kReadIndex) return;
  } else if (message.term > hard_state.term) {
    if (IgnoresVoteRequest(message)) return;
    HandleHigherTerm(message);
  } else if (message.term < hard_state.term) {
    return AnswerLowerTerm(message);
  }
  Dispatch(std::move(message));
}

void RaftCore::Dispatch(Message message) {
  switch (message.type) {
    case MessageType::kPropose:
      return HandlePropose(std::move(message));
    case MessageType::kAppend:
      return HandleAppend(std::move(message));
    case MessageType::kAppendResponse:
      return HandleAppendResponse(message);
    case MessageType::kVote:
    case MessageType::kPreVote:
      return HandleVoteRequest(message);
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
      return HandleVoteResponse(message);
    case MessageType::kSnapshot:
      return HandleSnapshot(message);
    case MessageType::kHeartbeat:
      return HandleHeartbeat(message);
    case MessageType::kHeartbeatResponse:
      return HandleHeartbeatResponse(message);
    case MessageType::kTransferLeader:
      return HandleTransferLeader(message);
    case MessageType::kTimeoutNow:
      return HandleTimeoutNow();
    case MessageType::kReadIndex:
      return HandleReadIndex(message);
    case MessageType::kReadIndexResponse:
      return HandleReadIndexResponse(message);
  }
}

void RaftCore::Durable(LogIndex index, Term term) {
  const LogIndex before = log.durable();
  log.SetDurable(index, term);
  if (log.durable() == before) return;
  disk_waits_ticks_ = 0;
  if (Leader* lead = leads()) {
    lead->sends_due |= lead->unheard;
    AdvanceCommit();
  }
}

void RaftCore::Applied(LogIndex index) {
  // Told while a snapshot of a later index was installed.
  if (index <= log.applied()) return;
  log.SetApplied(index);
  MaybeLeaveJoint();
  if (late_transfer_ == hard_state.term && !log.HasConfChange(log.applied(), log.commit())) {
    HandleTimeoutNow();
  }
}

bool RaftCore::HasOutput() const {
  if (const Leader* lead = leads(); lead != nullptr && (lead->sends_due || lead->round_due)) {
    return true;
  }
  return log.HasUnwritten() || (log.HasCommitted() && !installing) || !out_.messages.empty() ||
         !out_.messages_after_durable.empty() || !out_.reads.empty() ||
         !out_.reads_dropped.empty() || !out_.log_reads.empty() || !out_.snapshots_wanted.empty() ||
         out_.install || hard_state.term != written_.term || hard_state.vote != written_.vote;
}

Output RaftCore::TakeOutput() {
  if (leads() != nullptr) {
    SendReadRound();
    SendAllDue();
  }
  Output out = std::exchange(out_, Output{});
  out.append = log.TakeUnwritten();
  // An install follows what is committed here; after it the log goes on behind the snapshot.
  if (!installing || out.install) out.committed = log.TakeCommitted();
  hard_state.commit = log.commit();
  // The commit index alone is no reason to write: it travels with the next entries.
  if (hard_state.term != written_.term || hard_state.vote != written_.vote ||
      (!out.append.empty() && hard_state.commit != written_.commit)) {
    out.hard_state = written_ = hard_state;
  }
  const bool alone = conf.voters.size() == 1 && conf.learners.empty() && !conf.joint();
  log.Trim(alone ? 0 : config.tail_bytes_max);
  return out;
}

Status RaftCore::status() const {
  Status status{.self = config.self,
                .role = role(),
                .term = hard_state.term,
                .vote = hard_state.vote,
                .leader = leader,
                .last = log.last_index(),
                .durable = log.durable(),
                .commit = log.commit(),
                .applied = log.applied(),
                .conf_state = conf,
                .disk_stalled = DiskStalled()};
  const Leader* lead = leads();
  if (lead == nullptr) return status;
  status.transferee = lead->transferee;
  for (const auto& [id, peer] : lead->peers) {
    status.peers.push_back({.id = id,
                            .learner = !conf.IsVoter(id),
                            .state = peer.state,
                            .match = peer.match,
                            .next = peer.next,
                            .active = peer.active,
                            .pending_snapshot = peer.pending_snapshot,
                            .appends_in_flight = static_cast<uint32_t>(peer.in_flight.size()),
                            .bytes_in_flight = peer.in_flight.bytes()});
  }
  return status;
}

}  // namespace quorate::consensus
