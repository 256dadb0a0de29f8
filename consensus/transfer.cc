// Handing over the lead (thesis §3.10), because somebody asks for it or because the own disk
// stalls.

#include <algorithm>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

absl::Status RaftCore::TransferLeadership(MemberId to) {
  if (leader.value() == 0) return absl::UnavailableError("there is no leader");
  if (!conf.IsVoter(to)) return absl::InvalidArgumentError("who shall lead has no vote");
  if (to == leader) return absl::OkStatus();
  if (leads() != nullptr) {
    StartTransfer(to);
  } else {
    Send({.type = MessageType::kTransferLeader, .to = leader, .from = to});
  }
  return absl::OkStatus();
}

void RaftCore::HandleTransferLeader(const Message& message) {
  if (leads() == nullptr || message.from == config.self || !conf.IsVoter(message.from)) return;
  StartTransfer(message.from);
}

void RaftCore::StartTransfer(MemberId to) {
  Leader& lead = *leads();
  if (lead.transferee == to) return;
  lead.transferee = to;
  lead.transfer_ticks = 0;
  lead.sends_due = true;
  TellTransferee();
}

// Proposals are refused meanwhile, so a peer that has the whole log keeps having it.
void RaftCore::TellTransferee() {
  Leader& lead = *leads();
  if (lead.peers.at(lead.transferee).match != log.last_index()) return;
  if (lead.leaves) SendAllDue();  // the commit of what took its vote away
  Send({.type = MessageType::kTimeoutNow, .to = lead.transferee});
  if (lead.leaves) BecomeFollower(hard_state.term, MemberId(0));
}

void RaftCore::TickTransfer() {
  Leader& lead = *leads();
  if (lead.transferee.value() != 0 && ++lead.transfer_ticks >= config.election_ticks) {
    if (lead.steps_aside) return BecomeFollower(hard_state.term, MemberId(0));
    lead.transferee = MemberId(0);
    MaybeLeaveJoint();
  }
  if (!lead.leaves || lead.transferee.value() != 0) return;
  if (const MemberId next = MostUpToDateVoter(); next.value() != 0) StartTransfer(next);
}

void RaftCore::HandleTimeoutNow() {
  if (leads() != nullptr || !Promotable() || DiskStalled()) return;
  if (log.HasConfChange(log.applied(), log.commit())) {
    late_transfer_ = hard_state.term;  // when that is applied
    return;
  }
  RunCampaign(Campaign::kTransfer);
}

MemberId RaftCore::MostUpToDateVoter() const {
  MemberId best;
  LogIndex match;
  for (const auto& [id, peer] : leads()->peers) {
    if (!peer.active || !std::binary_search(conf.voters.begin(), conf.voters.end(), id)) continue;
    if (best.value() != 0 && peer.match <= match) continue;
    best = id;
    match = peer.match;
  }
  return best;
}

// A leader that cannot write may still be heard, and would keep the others from electing one that
// can. Commits go on without its disk while the others have theirs, but it applies none of them.
void RaftCore::TickDisk() {
  disk_waits_ticks_ = log.durable() < log.written() ? disk_waits_ticks_ + 1 : 0;
  Leader* lead = leads();
  if (lead == nullptr || lead->steps_aside || !DiskStalled()) return;
  // Where no other disk is ahead of this one, nobody could do better.
  const MemberId next = MostUpToDateVoter();
  if (next.value() == 0 || lead->peers.at(next).match <= log.durable()) return;
  lead->steps_aside = true;
  if (lead->transferee.value() == 0) StartTransfer(next);
}

bool RaftCore::DiskStalled() const {
  const uint32_t limit =
      config.disk_stall_ticks != 0 ? config.disk_stall_ticks : config.election_ticks;
  const bool others = conf.voters.size() > 1 || conf.joint();
  return others && disk_waits_ticks_ > limit;
}

}  // namespace quorate::consensus
