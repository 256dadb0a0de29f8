#include "consensus/raft.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

RaftCore::RaftCore(const Config& core_config, InitialState initial, Random* core_random)
    : config(core_config),
      random(core_random),
      log(initial),
      hard_state(initial.hard_state),
      conf(std::move(initial.conf_state)),
      written_(initial.hard_state) {
  QR_CHECK(config.self.value() != 0);
  QR_CHECK(config.election_ticks > config.heartbeat_ticks);
  std::sort(conf.voters.begin(), conf.voters.end());
  ResetElectionTimer();
  // A member that is alone has nobody to wait for (etcd's initial election tick advance).
  if (config.initial_election_tick_advance && conf.voters.size() == 1 && Promotable()) {
    election_elapsed_ = election_timeout_;
  }
}

bool RaftCore::IsVoter(MemberId id) const {
  return std::binary_search(conf.voters.begin(), conf.voters.end(), id);
}

void RaftCore::ResetElectionTimer() {
  election_elapsed_ = 0;
  election_timeout_ =
      config.election_ticks + static_cast<uint32_t>(random->Below(config.election_ticks));
}

Role RaftCore::role() const {
  if (std::holds_alternative<Leader>(state)) return Role::kLeader;
  if (const auto* candidate = std::get_if<Candidate>(&state)) {
    return candidate->pre ? Role::kPreCandidate : Role::kCandidate;
  }
  return Role::kFollower;
}

void RaftCore::Tick() {
  ++election_elapsed_;
  if (std::holds_alternative<Leader>(state)) return TickLeader();
  if (Promotable() && election_elapsed_ >= election_timeout_) Campaign(config.pre_vote);
}

void RaftCore::Send(Message message) {
  message.from = config.self;
  if (message.term.value() == 0) message.term = hard_state.term;
  out_.messages.push_back(std::move(message));
}

void RaftCore::SendAfterDurable(Message message) {
  message.from = config.self;
  if (message.term.value() == 0) message.term = hard_state.term;
  out_.messages_after_durable.push_back(std::move(message));
}

void RaftCore::BecomeFollower(Term term, MemberId new_leader) {
  QR_CHECK(term >= hard_state.term);
  DropReads();
  if (term > hard_state.term) {
    hard_state.term = term;
    hard_state.vote = MemberId(0);
  }
  state = Follower{};
  leader = new_leader;
  ResetElectionTimer();
}

// A vote is not given while a leader is heard of (thesis §4.2.3): a member that was cut off must
// not depose a working leader when it comes back.
bool RaftCore::IgnoresVoteRequest(const Message& message) const {
  const bool is_request =
      message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  return is_request && config.check_quorum && leader.value() != 0 &&
         election_elapsed_ < config.election_ticks;
}

void RaftCore::HandleHigherTerm(const Message& message) {
  if (message.type == MessageType::kPreVote) return;  // asks only; nobody's term moves
  if (message.type == MessageType::kPreVoteResponse && !message.reject) return;
  const bool from_leader = message.type == MessageType::kAppend ||
                           message.type == MessageType::kHeartbeat ||
                           message.type == MessageType::kSnapshot;
  BecomeFollower(message.term, from_leader ? message.from : MemberId(0));
}

void RaftCore::Receive(Message message) {
  if (message.term > hard_state.term) {
    if (IgnoresVoteRequest(message)) return;
    HandleHigherTerm(message);
  } else if (message.term < hard_state.term) {
    // Tell a leader or pre-candidate of the past that time went on.
    if (message.type == MessageType::kHeartbeat || message.type == MessageType::kAppend) {
      Send({.type = MessageType::kAppendResponse, .to = message.from});
    } else if (message.type == MessageType::kPreVote) {
      Send({.type = MessageType::kPreVoteResponse, .to = message.from, .reject = true});
    }
    return;
  }
  switch (message.type) {
    case MessageType::kVote:
    case MessageType::kPreVote:
      return HandleVoteRequest(message);
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
      return HandleVoteResponse(message);
    case MessageType::kAppend:
      return HandleAppend(message);
    case MessageType::kHeartbeat:
      return HandleHeartbeat(message);
    case MessageType::kAppendResponse:
      return HandleAppendResponse(message);
    case MessageType::kHeartbeatResponse:
      return HandleHeartbeatResponse(message);
    default:
      return;  // snapshots, transfer and forwarded reads come with the cluster
  }
}

void RaftCore::HandleVoteRequest(const Message& message) {
  const bool pre = message.type == MessageType::kPreVote;
  const MessageType answer = pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
  const bool free_to_vote = hard_state.vote == message.from ||
                            (hard_state.vote.value() == 0 && leader.value() == 0) ||
                            (pre && message.term > hard_state.term);
  if (!free_to_vote || !log.UpToDate(message.index, message.log_term)) {
    Send({.type = answer, .to = message.from, .term = hard_state.term, .reject = true});
    return;
  }
  // A granted pre-vote answers in the term that was asked for.
  Message granted{.type = answer, .to = message.from, .term = message.term};
  if (pre) return Send(std::move(granted));
  election_elapsed_ = 0;
  hard_state.vote = message.from;
  SendAfterDurable(std::move(granted));
}

absl::Status RaftCore::Propose(std::vector<Bytes> payloads) {
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) return absl::UnavailableError("raft proposal dropped");
  uint64_t bytes = 0;
  for (const Bytes& payload : payloads) bytes += payload.size();
  if (log.UncommittedBytes() != 0 &&
      log.UncommittedBytes() + bytes > config.uncommitted_bytes_max) {
    return absl::ResourceExhaustedError("too many uncommitted proposals");
  }
  for (Bytes& payload : payloads) {
    log.Append({hard_state.term, log.last_index().Next(), EntryType::kNormal, std::move(payload)});
  }
  SendAppendsToAll();
  return absl::OkStatus();
}

void RaftCore::Durable(LogIndex index, Term term) {
  log.SetDurable(index, term);
  if (std::holds_alternative<Leader>(state)) AdvanceCommit();
}

absl::StatusOr<ConfState> RaftCore::ApplyConfChange(const ConfChange& change) {
  absl::StatusOr<ConfState> changed = ChangeConf(conf, change);
  if (!changed.ok()) return changed;
  conf = *changed;
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) return changed;
  std::map<MemberId, Progress> peers;
  const auto keep = [&](const std::vector<MemberId>& ids) {
    for (MemberId id : ids) {
      if (id == config.self) continue;
      const auto known = leads->peers.find(id);
      Progress fresh;
      fresh.next = log.last_index().Next();
      peers[id] = known == leads->peers.end() ? fresh : std::move(known->second);
    }
  };
  keep(conf.voters);
  keep(conf.learners);
  leads->peers = std::move(peers);
  AdvanceCommit();
  return changed;
}

bool RaftCore::HasOutput() const {
  return log.HasUnwritten() || log.HasCommitted() || !out_.messages.empty() ||
         !out_.messages_after_durable.empty() || !out_.reads.empty() ||
         !out_.reads_dropped.empty() || hard_state.term != written_.term ||
         hard_state.vote != written_.vote;
}

Output RaftCore::TakeOutput() {
  Output out = std::exchange(out_, Output{});
  out.append = log.TakeUnwritten();
  out.committed = log.TakeCommitted();
  hard_state.commit = log.commit();
  // The commit index alone is no reason to write: it travels with the next entries.
  if (hard_state.term != written_.term || hard_state.vote != written_.vote ||
      (!out.append.empty() && hard_state.commit != written_.commit)) {
    out.hard_state = written_ = hard_state;
  }
  log.Forget(compacted);
  return out;
}

bool RaftCore::leader_ready() const {
  const auto* leads = std::get_if<Leader>(&state);
  return leads != nullptr && log.commit() >= leads->first_own;
}

// --- the public face

Raft::Raft(const Config& config, InitialState initial, Random* random)
    : core_(std::make_unique<RaftCore>(config, std::move(initial), random)) {}
Raft::~Raft() = default;

void Raft::Tick() { core_->Tick(); }
absl::Status Raft::Propose(std::vector<Bytes> payloads) {
  return core_->Propose(std::move(payloads));
}
void Raft::Receive(Message message) { core_->Receive(std::move(message)); }
void Raft::Durable(LogIndex index, Term term) { core_->Durable(index, term); }
void Raft::ReadIndex(uint64_t context) { core_->ReadIndex(context); }
absl::StatusOr<ConfState> Raft::ApplyConfChange(const ConfChange& change) {
  return core_->ApplyConfChange(change);
}
absl::Status Raft::ProposeConfChange(const ConfChange&) {
  return absl::UnimplementedError("membership changes are not proposed yet");
}
absl::Status Raft::TransferLeadership(MemberId) {
  return absl::UnimplementedError("the lead is not handed over yet");
}
// Nothing asks for these answers yet.
void Raft::Applied(LogIndex index) { core_->compacted = std::max(core_->compacted, index); }
void Raft::LogRead(LogReadAnswer) {}
void Raft::SnapshotReady(MemberId, SnapshotMeta) {}
void Raft::ReportSnapshot(MemberId, SnapshotResult) {}
void Raft::SnapshotInstalled(const SnapshotMeta&) {}
void Raft::SnapshotAbandoned(const SnapshotMeta&) {}
void Raft::ReportUnreachable(MemberId) {}
Status Raft::status() const {
  return {.self = core_->config.self,
          .role = role(),
          .term = term(),
          .vote = core_->hard_state.vote,
          .leader = leader(),
          .last = last_index(),
          .durable = core_->log.durable(),
          .commit = commit(),
          .conf_state = core_->conf};
}
void Raft::Compacted(LogIndex index) { core_->compacted = std::max(core_->compacted, index); }
Output Raft::TakeOutput() { return core_->TakeOutput(); }
bool Raft::HasOutput() const { return core_->HasOutput(); }
Role Raft::role() const { return core_->role(); }
MemberId Raft::leader() const { return core_->leader; }
Term Raft::term() const { return core_->hard_state.term; }
LogIndex Raft::commit() const { return core_->log.commit(); }
LogIndex Raft::last_index() const { return core_->log.last_index(); }
const ConfState& Raft::conf_state() const { return core_->conf; }
bool Raft::leader_ready() const { return core_->leader_ready(); }

}  // namespace quorate::consensus
