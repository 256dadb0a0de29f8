// The leader: taking the lead, heartbeats, the check of its quorum, commit (Raft §5.2-5.4, thesis
// §6.2 and §10.2.1).

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {
namespace {

Bytes ContextOf(uint64_t round) {
  char* out;
  Bytes bytes = Bytes::Allocate(sizeof(round), &out);
  memcpy(out, &round, sizeof(round));
  return bytes;
}

uint64_t RoundOf(const Bytes& context) {
  uint64_t round = 0;
  if (context.size() == sizeof(round)) memcpy(&round, context.data(), sizeof(round));
  return round;
}

}  // namespace

void RaftCore::BecomeLeader() {
  const size_t votes = std::get<Candidate>(state).votes.size();
  Leader lead;
  lead.first_own = log.last_index().Next();
  // Changes of earlier terms may be among what is not applied yet.
  lead.pending_conf = log.last_index();
  lead.unheard = votes == 1;
  state = std::move(lead);
  SetLeader(config.self);
  election_elapsed_ = heartbeat_elapsed_ = 0;
  FollowConf();
  // A no-op of the own term: only through it can entries of earlier terms commit (Raft §5.4.2).
  log.Append({hard_state.term, log.last_index().Next(), EntryType::kNormal, Bytes()});
}

bool RaftCore::Unheard() const { return leads()->unheard && log.durable() < leads()->first_own; }

void RaftCore::TickLeader() {
  if (election_elapsed_ >= config.election_ticks) {
    election_elapsed_ = 0;
    const bool active = QuorumActive();
    if (config.check_quorum && !active) return BecomeFollower(hard_state.term, MemberId(0));
  }
  TickTransfer();
  if (leads() == nullptr || ++heartbeat_elapsed_ < config.heartbeat_ticks) return;
  heartbeat_elapsed_ = 0;
  // Rounds that are not confirmed yet may have been lost: the newest stands for all.
  SendHeartbeats(leads()->reads.empty() ? 0 : leads()->rounds_sent);
}

bool RaftCore::QuorumActive() {
  auto& peers = leads()->peers;
  const bool active =
      QuorumAgrees(conf, [&](MemberId id) { return id == config.self || peers.at(id).active; });
  for (auto& [id, peer] : peers) peer.active = false;
  return active;
}

void RaftCore::SendHeartbeats(uint64_t round) {
  if (Unheard()) return;
  const Bytes context = round == 0 ? Bytes() : ContextOf(round);
  for (const auto& [id, peer] : leads()->peers) {
    // What a peer may commit is bounded by what it is known to have.
    Send({.type = MessageType::kHeartbeat,
          .to = id,
          .commit = std::min(peer.match, log.commit()),
          .context = context});
  }
}

void RaftCore::HandleHeartbeatResponse(const Message& message) {
  Progress* peer = PeerHeard(message.from);
  if (peer == nullptr) return;
  peer->paused = false;
  // Were the last appends lost, nothing else would tell: one more, empty if need be, is refused by
  // a peer that misses what came before it.
  peer->poke |= peer->state == ReplicationState::kReplicate && peer->match < log.last_index();
  leads()->sends_due = true;
  const uint64_t round = RoundOf(message.context);
  if (round <= peer->read_round || round > leads()->rounds_sent) return;
  peer->read_round = round;
  AnswerReads();
}

void RaftCore::AdvanceCommit() {
  Leader& lead = *leads();
  const bool was_ready = leader_ready();
  // The leader is one voter like the others: it counts with what its own disk has.
  const LogIndex index(QuorumReached(conf, [&](MemberId id) {
    return id == config.self ? log.durable().value() : lead.peers.at(id).match.value();
  }));
  // Only entries of the own term commit by counting, and with them all before (Raft §5.4.2).
  if (index <= log.commit() || log.TermAt(index) != hard_state.term) return;
  log.Commit(index);
  lead.sends_due = true;
  if (!was_ready && leader_ready()) AnswerReads();
}

}  // namespace quorate::consensus
