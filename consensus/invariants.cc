#include "consensus/invariants.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {
namespace {

// Entries so far below what all have committed are not remembered any longer.
constexpr uint64_t kRemembered = 4096;

uint64_t HashOf(const Entry& entry) {
  uint64_t hash = 14695981039346656037u + static_cast<uint64_t>(entry.type);
  for (const char c : entry.data.view()) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return hash;
}

bool SortedAndDistinct(const std::vector<MemberId>& ids) {
  return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end();
}

bool Disjoint(const std::vector<MemberId>& a, const std::vector<MemberId>& b) {
  return std::none_of(a.begin(), a.end(),
                      [&](MemberId id) { return std::binary_search(b.begin(), b.end(), id); });
}

bool ConfIsSound(const ConfState& conf) {
  const bool sorted = SortedAndDistinct(conf.voters) && SortedAndDistinct(conf.learners) &&
                      SortedAndDistinct(conf.voters_outgoing) &&
                      SortedAndDistinct(conf.learners_next);
  const bool next_are_outgoing =
      std::includes(conf.voters_outgoing.begin(), conf.voters_outgoing.end(),
                    conf.learners_next.begin(), conf.learners_next.end());
  return sorted && next_are_outgoing && Disjoint(conf.learners, conf.voters) &&
         Disjoint(conf.learners, conf.voters_outgoing) &&
         Disjoint(conf.learners_next, conf.voters) && (conf.joint() || !conf.auto_leave);
}

}  // namespace

std::optional<Term> RaftInvariants::Member::TermAt(LogIndex index) const {
  if (index <= base || index > last()) return std::nullopt;
  return terms[index.value() - base.value() - 1];
}

void RaftInvariants::Require(bool holds, MemberId id, std::string_view rule) {
  if (!holds && violation_.empty()) violation_ = StrCat("member ", id.value(), ": ", rule);
}

absl::Status RaftInvariants::Look(const std::vector<const Raft*>& running) {
  std::vector<Before> looks;
  for (const Raft* raft : running) {
    const RaftCore& core = *raft->core_;
    Member& member = members_[core.config.self];
    Before& before = looks.emplace_back();
    before.running = member.running && !member.crashed;
    if (before.running) before.commit = member.commit;
    if (before.running && before.commit != core.log.commit()) before.conf = member.conf;
    State(core);
    Delta(core, member);
    FollowLog(core, &member);
    member.running = true;
    member.crashed = false;
    member.role = core.role();
    member.term = core.hard_state.term;
    member.vote = core.hard_state.vote;
    member.commit = core.log.commit();
    member.applied = core.log.applied();
    // What a newer leader overwrites was synced in vain.
    if (core.log.durable() < member.durable) {
      member.synced = std::min(member.synced, core.log.durable());
    }
    member.durable = core.log.durable();
    if (member.conf != core.conf) member.conf = core.conf;
  }
  for (size_t i = 0; i < running.size(); ++i) FollowCommit(*running[i]->core_, looks[i]);
  for (const Raft* raft : running) {
    if (raft->role() == Role::kLeader) Leads(*raft->core_);
  }
  Forget();
  return violation_.empty() ? absl::OkStatus() : absl::InternalError(violation_);
}

void RaftInvariants::State(const RaftCore& core) {
  const MemberId id = core.config.self;
  const EntryLog& log = core.log;
  Require(log.applied() <= log.handed(), id, "applied <= given out to apply");
  Require(log.handed() <= log.commit(), id, "only committed entries are applied");
  Require(log.handed() <= log.durable(), id, "only entries durable here are applied");
  Require(log.durable() <= log.written(), id, "durable <= written");
  Require(log.written() <= log.last_index(), id, "written <= last");
  Require(log.commit() <= log.last_index(), id, "commit <= last");
  Require(core.hard_state.term >= log.last_term(), id, "term >= term of the last entry");
  Require(ConfIsSound(core.conf), id, "each member has one role");
  if (core.role() != Role::kFollower) {
    const bool leaves = core.role() == Role::kLeader && std::get<Leader>(core.state).leaves;
    Require(core.conf.IsVoter(id) || leaves, id, "only voters campaign and lead");
    Require(!core.installing, id, "nobody campaigns or leads while a snapshot is installed");
  }
  if (core.role() == Role::kCandidate || core.role() == Role::kLeader) {
    Require(core.hard_state.vote == id, id, "a candidate has voted for itself");
  }
  if (core.role() == Role::kLeader) LeaderState(core);
}

void RaftInvariants::LeaderState(const RaftCore& core) {
  const MemberId id = core.config.self;
  const auto& lead = std::get<Leader>(core.state);
  Require(core.leader == id, id, "a leader follows itself");
  std::vector<MemberId> peers{id};
  for (const auto& [peer_id, peer] : lead.peers) {
    peers.push_back(peer_id);
    Require(peer.match <= core.log.last_index(), id, "match <= last");
    Require(peer.match < peer.next, id, "match < next");
    Require(peer.told_commit <= core.log.commit(), id, "no peer is told more than is committed");
    Require(peer.in_flight.size() <= core.config.appends_in_flight_max, id,
            "appends in flight are bounded");
    Require(peer.in_flight.last() < peer.next, id, "next is beyond what is in flight");
    if (peer.state == ReplicationState::kReplicate) {
      Require(peer.next <= core.log.last_index().Next(), id, "next <= last + 1");
    } else {
      Require(peer.in_flight.size() == 0, id, "only replication has appends in flight");
    }
  }
  std::sort(peers.begin(), peers.end());
  std::vector<MemberId> members = core.conf.Members();
  if (!core.conf.Contains(id))
    members.insert(std::lower_bound(members.begin(), members.end(), id), id);
  Require(peers == members, id, "a leader sends to each member and no other");
}

void RaftInvariants::Delta(const RaftCore& core, const Member& before) {
  if (before.crashed) {
    Require(core.log.last_index() >= before.durable, core.config.self,
            "what was durable outlives a crash");
    return;
  }
  const MemberId id = core.config.self;
  Require(core.hard_state.term >= before.term, id, "the term never falls");
  Require(core.log.commit() >= before.commit, id, "the commit index never falls");
  Require(core.log.applied() >= before.applied, id, "the applied index never falls");
  if (core.hard_state.term == before.term && before.vote.value() != 0) {
    Require(core.hard_state.vote == before.vote, id, "one vote a term");
  }
}

// Takes over what is new in the log, and checks that it is the same as everywhere else.
void RaftInvariants::FollowLog(const RaftCore& core, Member* member) {
  const EntryLog& log = core.log;
  const MemberId id = core.config.self;
  LogIndex same = std::min(log.last_index(), member->last());
  if (log.first_in_memory().Prev() > member->last() || member->terms.empty()) {
    member->terms.clear();
    same = member->base = log.first_in_memory().Prev();
  }
  while (same >= log.first_in_memory() && same > member->base &&
         log.At(same).term != *member->TermAt(same)) {
    same = same.Prev();
  }
  if (same < member->last()) {
    Require(member->crashed || same >= member->commit, id, "committed entries stay");
    Require(!member->crashed || same >= member->durable, id, "durable entries outlive a crash");
    const bool led = member->role == Role::kLeader && core.role() == Role::kLeader;
    Require(member->crashed || !led || member->term != core.hard_state.term, id,
            "a leader only appends");
    member->terms.resize(same < member->base ? 0 : same.value() - member->base.value());
  }
  for (LogIndex i = log.first_in_memory(); member->crashed && i <= same; ++i) {
    const auto known = entries_.find({i, log.At(i).term});
    Require(known == entries_.end() || known->second.hash == HashOf(log.At(i)), id,
            "a log holds after a crash what was written to it");
  }
  for (LogIndex i = same.Next(); i <= log.last_index(); ++i) {
    const Entry& entry = log.At(i);
    const Identity identity{*log.TermAt(i.Prev()), HashOf(entry)};
    const auto [known, is_new] = entries_.try_emplace({i, entry.term}, identity);
    Require(is_new || known->second == identity, id, "equal index and term are equal entries");
    Require(identity.before <= entry.term, id, "terms in a log never fall");
    member->terms.push_back(entry.term);
  }
  for (; member->terms.size() > kRemembered && member->base.Next() < log.commit(); ++member->base) {
    member->terms.pop_front();
  }
}

// All members commit the same entries.
void RaftInvariants::FollowCommit(const RaftCore& core, const Before& before) {
  const EntryLog& log = core.log;
  const MemberId id = core.config.self;
  for (LogIndex i = std::max(before.commit.Next(), log.first_in_memory()); i <= log.commit(); ++i) {
    const Committed committed{log.At(i).term, core.hard_state.term};
    const auto [known, is_new] = history_.try_emplace(i, committed);
    Require(known->second.term == committed.term, id, "the same entry is committed everywhere");
  }
  if (log.commit() <= history_end_) return;
  history_end_ = log.commit();
  // What a member knew when it started was committed by others.
  if (before.running && core.role() == Role::kLeader) CommitHasQuorum(core, before.conf);
}

void RaftInvariants::CommitHasQuorum(const RaftCore& core, const ConfState& conf_before) {
  const LogIndex index = core.log.commit();
  const std::optional<Term> term = core.log.TermAt(index);
  Require(term == core.hard_state.term, core.config.self,
          "a leader commits by an entry of its own term");
  const auto on_disk = [&](MemberId id) {
    const auto found = members_.find(id);
    if (found == members_.end() || found->second.OnDisk() < index) return false;
    return found->second.TermAt(index) == term || found->second.base >= index;
  };
  // A change may have been applied since the commit moved.
  Require(QuorumAgrees(core.conf, on_disk) || QuorumAgrees(conf_before, on_disk), core.config.self,
          "what is committed is durable at a quorum of the voters");
}

void RaftInvariants::Leads(const RaftCore& core) {
  const MemberId id = core.config.self;
  const auto [known, is_new] = leaders_.try_emplace(core.hard_state.term, id);
  Require(known->second == id, id, "one leader a term");
  if (!is_new || history_.empty()) return;
  // Leader completeness: what was committed in an earlier term is in the log of every later leader.
  for (auto it = history_.rbegin(); it != history_.rend(); ++it) {
    if (it->second.known_in >= core.hard_state.term) continue;
    const LogIndex index = it->first;
    Require(index < core.log.first_in_memory() || core.log.TermAt(index) == it->second.term, id,
            "a leader has all that was committed before its term");
    return;
  }
}

absl::Status RaftInvariants::Sent(const Message& message) {
  const bool asks = message.type == MessageType::kVote;
  const bool grants = message.type == MessageType::kVoteResponse && !message.reject;
  if (asks || grants) {
    const MemberId candidate = asks ? message.from : message.to;
    const auto [known, is_new] = votes_sent_.try_emplace({message.from, message.term}, candidate);
    Require(known->second == candidate, message.from, "a vote is not given twice in a term");
  }
  return violation_.empty() ? absl::OkStatus() : absl::InternalError(violation_);
}

void RaftInvariants::Synced(MemberId id, LogIndex index) {
  Member& member = members_[id];
  member.synced = std::max(member.synced, index);
}

void RaftInvariants::Crashed(MemberId id) {
  Member& member = members_[id];
  member.crashed = true;
  member.durable = member.OnDisk();
  // A member that is alone leads at once, and appends in a term that no disk knows yet: both may be
  // forgotten, and the term used again. Nothing of it was ever seen by others.
  if (member.conf.voters == std::vector<MemberId>{id} && member.conf.voters_outgoing.empty()) {
    std::erase_if(entries_, [&](const auto& entry) { return entry.first.first > member.durable; });
  }
}

void RaftInvariants::Forget() {
  if (history_.size() < 2 * kRemembered) return;
  const LogIndex through(history_end_.value() - kRemembered);
  history_.erase(history_.begin(), history_.lower_bound(through));
  entries_.erase(entries_.begin(), entries_.lower_bound({through, Term(0)}));
}

}  // namespace quorate::consensus
