// A changed configuration takes effect when it is applied (as in etcd/raft; the thesis has it at
// append, §4.1): one change at a time, each applied before the next is proposed, keeps that safe.

#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

absl::StatusOr<ConfState> RaftCore::ApplyConfChange(const ConfChange& change) {
  absl::StatusOr<ConfState> changed = ChangeConf(conf, change);
  if (!changed.ok()) return changed;
  conf = *changed;
  if (leads() == nullptr) {
    if (!conf.IsVoter(config.self) && std::holds_alternative<Candidate>(state)) {
      BecomeFollower(hard_state.term, leader);
    }
    return changed;
  }
  FollowConf();
  // A smaller quorum may have what a larger one had not.
  AdvanceCommit();
  AnswerReads();
  if (conf.IsVoter(config.self)) return changed;
  // A leader without a vote leads on, takes no more proposals and does not count itself (thesis
  // §4.2.2), until the best of the others, which gets the rest of its log, has taken over. Did it
  // stop at once, those who have not heard of the commit might need its vote and not get it.
  leads()->leaves = true;
  if (const MemberId next = MostUpToDateVoter(); next.value() != 0) StartTransfer(next);
  return changed;
}

// Keeps what is known of the peers that stay.
void RaftCore::FollowConf() {
  Leader& lead = *leads();
  std::map<MemberId, Progress> peers;
  for (const MemberId id : conf.Members()) {
    if (id == config.self) continue;
    const auto known = lead.peers.find(id);
    if (known != lead.peers.end()) {
      peers[id] = std::move(known->second);
      continue;
    }
    Progress fresh;
    fresh.next = log.last_index().Next();
    fresh.active = true;  // until the next check of the quorum says otherwise
    peers[id] = std::move(fresh);
  }
  lead.peers = std::move(peers);
  lead.sends_due = true;
  if (lead.transferee.value() != 0 && !conf.IsVoter(lead.transferee)) {
    lead.transferee = MemberId(0);
    lead.steps_aside = false;  // another is chosen with the next tick
  }
}

void RaftCore::MaybeLeaveJoint() {
  Leader* lead = leads();
  if (lead == nullptr || !conf.auto_leave || lead->pending_conf > log.applied()) return;
  // Its time comes again when the transfer ended, here or at the next leader.
  if (lead->transferee.value() != 0) return;
  EncodedConfChange leave = EncodeConfChange(ConfChange{});
  lead->pending_conf = log.last_index().Next();
  log.Append({hard_state.term, lead->pending_conf, leave.type, std::move(leave.data)});
  lead->sends_due = true;
}

}  // namespace quorate::consensus
