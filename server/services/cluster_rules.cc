#include "server/services/cluster_rules.h"

#include <algorithm>

namespace quorate::server {
namespace {

using engine::Error;
using etcdserverpb::Member;

struct Counts {
  size_t members = 0;
  size_t started = 0;  // with a name: they have published themselves
  bool EnoughStarted() const { return started >= members / 2 + 1; }
};

Counts CountVoters(const std::vector<Member>& members, MemberId but) {
  Counts counts;
  for (const Member& member : members) {
    if (member.islearner() || MemberId(member.id()) == but) continue;
    ++counts.members;
    if (!member.name().empty()) ++counts.started;
  }
  return counts;
}

std::vector<MemberId> VotersOf(const std::vector<Member>& members) {
  std::vector<MemberId> voters;
  for (const Member& member : members) {
    if (!member.islearner()) voters.push_back(MemberId(member.id()));
  }
  return voters;
}

}  // namespace

Error MayAdd(const RuleInputs& inputs, const Member& member) {
  if (!member.islearner()) {
    Counts counts = CountVoters(inputs.members, MemberId(0));
    ++counts.members;
    // From one to two is allowed: somebody has to begin.
    const bool second = counts.started == 1 && counts.members == 2;
    if (!second && !counts.EnoughStarted()) return engine::errors::kMemberNotEnoughStarted;
  }
  const std::vector<MemberId> voters = VotersOf(inputs.members);
  if (inputs.connected(voters) < voters.size()) return engine::errors::kUnhealthy;
  return {};
}

Error MayRemove(const RuleInputs& inputs, MemberId member) {
  const auto found = std::find_if(inputs.members.begin(), inputs.members.end(),
                                  [&](const Member& m) { return MemberId(m.id()) == member; });
  if (found != inputs.members.end() && found->islearner()) return {};
  if (!CountVoters(inputs.members, member).EnoughStarted()) {
    return engine::errors::kMemberNotEnoughStarted;
  }
  // One that is down is no part of the quorum that works.
  if (member != inputs.self && inputs.connected({member}) == 0) return {};
  const std::vector<MemberId> voters = VotersOf(inputs.members);
  const size_t active = inputs.connected(voters);
  if (active < 1 + (1 + (voters.size() - 1) / 2)) return engine::errors::kUnhealthy;
  return {};
}

Error MayPromote(const RuleInputs& inputs, const consensus::Status& raft, MemberId member,
                 Reconfig check) {
  if (raft.role != consensus::Role::kLeader) return engine::errors::kNotLeader;
  const auto peer = std::find_if(raft.peers.begin(), raft.peers.end(),
                                 [&](const consensus::PeerStatus& p) { return p.id == member; });
  if (peer != raft.peers.end()) {
    if (peer->match.value() * 10 < raft.durable.value() * 9)
      return engine::errors::kLearnerNotReady;
  } else if (member != raft.self) {
    return engine::errors::kMemberNotFound;
  }
  if (check == Reconfig::kUnchecked) return {};
  Counts counts = CountVoters(inputs.members, MemberId(0));
  ++counts.members;  // the learner, as a voter that has started
  ++counts.started;
  if (!counts.EnoughStarted()) return engine::errors::kMemberNotEnoughStarted;
  return {};
}

}  // namespace quorate::server
