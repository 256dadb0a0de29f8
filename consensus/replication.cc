// How a leader brings a peer's log to its own: probing, pipelining within bounds, entries from the
// log store when they are no longer in memory (Raft §5.3, etcd/raft's tracker). Appends are made
// when the Output is taken, so that one carries all that came together.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::SendAllDue() {
  Leader& lead = *leads();
  if (!lead.sends_due || Unheard()) {
    lead.sends_due = false;
    return;
  }
  lead.sends_due = false;
  for (auto& [id, peer] : lead.peers) SendDue(id, peer);
}

void RaftCore::SendDue(MemberId to, Progress& peer) {
  switch (peer.state) {
    case ReplicationState::kSnapshot:
      // Made only for a peer that is there to take it.
      if (peer.snapshot_asked || !peer.active) return;
      peer.snapshot_asked = true;
      out_.snapshots_wanted.push_back(to);
      return;
    case ReplicationState::kProbe:
      if (peer.paused) return;
      // The entries went with the first probe at this place; repeating them could only waste.
      peer.probed_next == peer.next ? SendEmpty(to, peer) : SendEntries(to, peer);
      return;
    case ReplicationState::kReplicate:
      while (peer.next <= log.last_index() && !peer.in_flight.Full(config)) {
        if (!SendEntries(to, peer)) return;
        peer.poke = false;
      }
      if (peer.poke || peer.told_commit < std::min(log.commit(), peer.next.Prev())) {
        if (SendEmpty(to, peer)) peer.poke = false;
      }
      return;
  }
}

std::optional<Term> RaftCore::TermBefore(const Progress& peer) const {
  const LogIndex before = peer.next.Prev();
  if (before.value() == 0) return Term(0);
  if (std::optional<Term> term = log.TermAt(before)) return term;
  if (peer.before_index == before) return peer.before_term;
  return std::nullopt;
}

bool RaftCore::SendEntries(MemberId to, Progress& peer) {
  const std::optional<Term> before = TermBefore(peer);
  if (!before || peer.next < log.first_in_memory()) {
    AskLogRead(to, peer);
    return false;
  }
  SendAppend(to, peer, *before, log.Slice(peer.next, config.append_bytes_max));
  return true;
}

bool RaftCore::SendEmpty(MemberId to, Progress& peer) {
  const std::optional<Term> before = TermBefore(peer);
  if (!before) return false;
  SendAppend(to, peer, *before, {});
  return true;
}

void RaftCore::SendAppend(MemberId to, Progress& peer, Term before, std::vector<Entry> entries) {
  LogIndex last = peer.next.Prev();
  uint64_t bytes = 0;
  Term last_term = before;
  if (!entries.empty()) {
    QR_CHECK(entries.front().index == peer.next);
    last = entries.back().index;
    last_term = entries.back().term;
    for (const Entry& entry : entries) bytes += entry.data.size();
  }
  const bool carries = !entries.empty();
  Send({.type = MessageType::kAppend,
        .to = to,
        .log_term = before,
        .index = peer.next.Prev(),
        .entries = std::move(entries),
        .commit = log.commit()});
  peer.told_commit = std::max(peer.told_commit, std::min(log.commit(), last));
  if (peer.state == ReplicationState::kProbe) {
    peer.paused = true;
    peer.probed_next = peer.next;
    peer.before_index = peer.next.Prev();
    peer.before_term = before;
    return;
  }
  peer.before_index = last;
  peer.before_term = last_term;
  peer.next = last.Next();
  if (carries) peer.in_flight.Add(last, bytes);
}

void RaftCore::AskLogRead(MemberId to, Progress& peer) {
  if (peer.log_read != 0) return;
  if (peer.next <= compacted_) {
    peer.BecomeSnapshot();
    return SendDue(to, peer);
  }
  peer.log_read = ++log_reads_asked_;
  peer.log_read_first = peer.next;
  const LogIndex in_memory_before = log.first_in_memory().Prev();
  out_.log_reads.push_back({.id = peer.log_read,
                            .peer = to,
                            .first = peer.next,
                            .last = std::max(peer.next, in_memory_before),
                            .bytes_max = config.append_bytes_max});
}

void RaftCore::LogRead(LogReadAnswer answer) {
  Leader* lead = leads();
  if (lead == nullptr || answer.id == 0) return;
  for (auto& [id, peer] : lead->peers) {
    if (peer.log_read != answer.id) continue;
    peer.log_read = 0;
    lead->sends_due = true;
    // Meanwhile the peer may have said that it needs something else.
    if (peer.log_read_first != peer.next) return;
    if (!answer.term_before) return peer.BecomeSnapshot();
    if (peer.paused || Unheard()) return;
    SendAppend(id, peer, *answer.term_before, std::move(answer.entries));
    return;
  }
}

void RaftCore::Compacted(LogIndex index) { compacted_ = std::max(compacted_, index); }

Progress* RaftCore::PeerHeard(MemberId id) {
  Leader* lead = leads();
  if (lead == nullptr) return nullptr;
  const auto found = lead->peers.find(id);
  if (found == lead->peers.end()) return nullptr;
  found->second.active = true;
  return &found->second;
}

void RaftCore::HandleAppendResponse(const Message& message) {
  Progress* peer = PeerHeard(message.from);
  // Nobody can have more of this term than its leader gave out.
  if (peer == nullptr || message.index > log.last_index()) return;
  leads()->sends_due = true;
  if (message.reject) return HandleRejection(message, *peer);
  peer->in_flight.FreeThrough(message.index);
  const bool advanced = message.index > peer->match;
  if (!advanced && message.index < peer->match) return;
  peer->match = message.index;
  peer->next = std::max(peer->next, peer->match.Next());
  switch (peer->state) {
    case ReplicationState::kProbe:
      peer->BecomeReplicate();
      break;
    case ReplicationState::kSnapshot: {
      // Caught up by the snapshot, or by appends that were under way before it.
      const bool by_snapshot =
          peer->pending_snapshot.value() != 0 && peer->match >= peer->pending_snapshot;
      if (by_snapshot || peer->match.Next() >= log.first_in_memory()) peer->BecomeReplicate();
      break;
    }
    case ReplicationState::kReplicate:
      break;
  }
  if (!advanced) return;
  AdvanceCommit();
  if (message.from == leads()->transferee) TellTransferee();
}

// The newest place where our log may agree with the one that refused: a place where its term is not
// older than ours cannot be told apart any further from here.
LogIndex RaftCore::AgreedPlace(const Message& rejection, LogIndex match) const {
  LogIndex place = std::min(rejection.reject_hint, log.last_index());
  if (rejection.log_term.value() == 0) return place;
  while (place > match) {
    const std::optional<Term> term = log.TermAt(place);
    if (!term || *term <= rejection.log_term) break;
    place = place.Prev();
  }
  return place;
}

void RaftCore::HandleRejection(const Message& message, Progress& peer) {
  const LogIndex place = AgreedPlace(message, peer.match);
  const LogIndex next = std::max(std::min(message.index, place.Next()), peer.match.Next());
  switch (peer.state) {
    case ReplicationState::kSnapshot:
      return;
    case ReplicationState::kProbe:
      if (message.index != peer.next.Prev()) return;  // an answer from before
      peer.next = next;
      peer.paused = false;
      peer.told_commit = std::min(peer.told_commit, next.Prev());
      return;
    case ReplicationState::kReplicate:
      if (message.index <= peer.match) return;  // an answer from before
      peer.BecomeProbe();
      peer.next = next;
      return;
  }
}

void RaftCore::ReportUnreachable(MemberId id) {
  Leader* lead = leads();
  if (lead == nullptr) return;
  const auto found = lead->peers.find(id);
  if (found == lead->peers.end()) return;
  // A probe that was lost is repeated when the peer answers a heartbeat.
  if (found->second.state != ReplicationState::kReplicate) return;
  found->second.BecomeProbe();
  lead->sends_due = true;
}

}  // namespace quorate::consensus
