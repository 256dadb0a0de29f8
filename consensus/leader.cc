// The leader: replication with probing and pipelining, commit, read index (Raft §5.3-5.4, thesis
// §6.4 and §10.2.1).

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {
namespace {

Bytes ContextOf(uint64_t read) {
  char* out;
  Bytes bytes = Bytes::Allocate(sizeof(read), &out);
  memcpy(out, &read, sizeof(read));
  return bytes;
}

uint64_t ReadOf(const Bytes& context) {
  uint64_t read = 0;
  if (context.size() == sizeof(read)) memcpy(&read, context.data(), sizeof(read));
  return read;
}

}  // namespace

void RaftCore::BecomeLeader() {
  QR_CHECK(std::holds_alternative<Candidate>(state));
  Leader leads;
  leads.first_own = log.last_index().Next();
  for (const auto* ids : {&conf.voters, &conf.learners}) {
    for (const MemberId id : *ids) {
      if (id == config.self) continue;
      Progress peer;
      peer.next = leads.first_own;
      peer.active = true;  // until the first check of the quorum says otherwise
      leads.peers[id] = std::move(peer);
    }
  }
  state = std::move(leads);
  leader = config.self;
  heartbeat_elapsed_ = 0;
  // A no-op of the own term: only through it can entries of earlier terms commit (Raft §5.4.2).
  log.Append({hard_state.term, log.last_index().Next(), EntryType::kNormal, Bytes()});
  SendAppendsToAll();
}

void RaftCore::TickLeader() {
  auto& leads = std::get<Leader>(state);
  if (config.check_quorum && ++leads.ticks_since_quorum_check >= config.election_ticks) {
    leads.ticks_since_quorum_check = 0;
    if (!QuorumActive()) return BecomeFollower(hard_state.term, MemberId(0));
  }
  if (++heartbeat_elapsed_ < config.heartbeat_ticks) return;
  heartbeat_elapsed_ = 0;
  SendHeartbeats(leads.reads.empty() ? 0 : leads.reads.back().context);
}

bool RaftCore::QuorumActive() {
  auto& leads = std::get<Leader>(state);
  size_t active = IsVoter(config.self) ? 1 : 0;
  for (auto& [id, peer] : leads.peers) {
    if (IsVoter(id) && std::exchange(peer.active, false)) ++active;
  }
  return active >= Quorum();
}

void RaftCore::SendAppend(MemberId to, Progress& peer) {
  if (peer.state == Progress::State::kProbe && peer.probe_sent) return;
  if (peer.in_flight.size() >= config.appends_in_flight_max) return;
  const LogIndex before = peer.next.Prev();
  const std::optional<Term> term = log.TermAt(before);
  if (!term) return;  // no longer in memory: the peer needs older entries or a snapshot
  Message append{.type = MessageType::kAppend,
                 .to = to,
                 .log_term = *term,
                 .index = before,
                 .entries = log.Slice(peer.next, config.append_bytes_max),
                 .commit = log.commit()};
  if (peer.state == Progress::State::kProbe) {
    peer.probe_sent = true;
  } else if (!append.entries.empty()) {
    peer.next = append.entries.back().index.Next();
    peer.in_flight.push_back(append.entries.back().index);
  }
  Send(std::move(append));
}

void RaftCore::SendAppendsToAll() {
  for (auto& [id, peer] : std::get<Leader>(state).peers) SendAppend(id, peer);
}

void RaftCore::SendHeartbeats(uint64_t read_context) {
  for (auto& [id, peer] : std::get<Leader>(state).peers) {
    // What a peer may commit is bounded by what it is known to have.
    Send({.type = MessageType::kHeartbeat,
          .to = id,
          .commit = std::min(peer.match, log.commit()),
          .context = read_context == 0 ? Bytes() : ContextOf(read_context)});
    peer.probe_sent = false;
  }
}

void RaftCore::HandleAppendResponse(const Message& message) {
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) return;
  const auto found = leads->peers.find(message.from);
  if (found == leads->peers.end()) return;
  Progress& peer = found->second;
  peer.active = true;
  if (message.reject) {
    if (message.index <= peer.match) return;  // an answer from before
    peer.state = Progress::State::kProbe;
    peer.probe_sent = false;
    peer.in_flight.clear();
    peer.next = std::max(peer.match.Next(), message.reject_hint.Next());
    return SendAppend(message.from, peer);
  }
  while (!peer.in_flight.empty() && peer.in_flight.front() <= message.index) {
    peer.in_flight.pop_front();
  }
  if (message.index > peer.match) {
    peer.match = message.index;
    AdvanceCommit();
  }
  if (peer.state == Progress::State::kProbe) {
    peer.state = Progress::State::kReplicate;
    peer.probe_sent = false;
    peer.next = peer.match.Next();
  }
  peer.next = std::max(peer.next, peer.match.Next());
  if (peer.next <= log.last_index()) SendAppend(message.from, peer);
}

void RaftCore::HandleHeartbeatResponse(const Message& message) {
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) return;
  const auto found = leads->peers.find(message.from);
  if (found == leads->peers.end()) return;
  found->second.active = true;
  found->second.probe_sent = false;
  // Appends may have been lost; one that is still unanswered after a heartbeat is sent again.
  if (found->second.match < log.last_index()) {
    if (!found->second.in_flight.empty()) {
      found->second.in_flight.clear();
      found->second.next = found->second.match.Next();
    }
    SendAppend(message.from, found->second);
  }
  const uint64_t read = ReadOf(message.context);
  if (read == 0 || !IsVoter(message.from)) return;
  // An answer for a read stands for all asked before it as well.
  bool known = false;
  for (const Leader::PendingRead& pending : leads->reads) known |= pending.context == read;
  if (!known) return;
  for (Leader::PendingRead& pending : leads->reads) {
    pending.acknowledged.insert(message.from);
    if (pending.context == read) break;
  }
  AnswerReads();
}

void RaftCore::AdvanceCommit() {
  auto& leads = std::get<Leader>(state);
  std::vector<LogIndex> matched;
  for (const MemberId voter : conf.voters) {
    // The leader is one voter like the others: it counts with what its own disk has.
    matched.push_back(voter == config.self ? log.durable() : leads.peers.at(voter).match);
  }
  if (matched.empty()) return;
  std::sort(matched.begin(), matched.end(), std::greater<>());
  const LogIndex index = matched[Quorum() - 1];
  if (index <= log.commit() || log.TermAt(index) != hard_state.term) return;
  const bool was_ready = leader_ready();
  log.Commit(index);
  if (!was_ready && leader_ready()) AnswerReads();
  for (auto& [id, peer] : leads.peers) SendAppend(id, peer);
}

void RaftCore::ReadIndex(uint64_t context) {
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) {
    out_.reads_dropped.push_back(context);
    return;
  }
  leads->reads.push_back({context, log.commit(), {}});
  if (Quorum() > 1) SendHeartbeats(context);
  AnswerReads();
}

void RaftCore::AnswerReads() {
  auto& leads = std::get<Leader>(state);
  if (!leader_ready()) return;  // an older leader may have committed more than is known here
  while (!leads.reads.empty()) {
    const Leader::PendingRead& read = leads.reads.front();
    const size_t confirmed = read.acknowledged.size() + (IsVoter(config.self) ? 1 : 0);
    if (confirmed < Quorum()) return;
    out_.reads.push_back({read.context, std::max(read.index, leads.first_own)});
    leads.reads.pop_front();
  }
}

void RaftCore::DropReads() {
  auto* leads = std::get_if<Leader>(&state);
  if (leads == nullptr) return;
  for (const Leader::PendingRead& read : leads->reads) out_.reads_dropped.push_back(read.context);
  leads->reads.clear();
}

}  // namespace quorate::consensus
