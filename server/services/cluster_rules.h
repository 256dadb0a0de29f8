// What may be asked of the members as they are: etcd's strict check of reconfigurations, and what
// makes a learner fit to vote (wire facts, semantics §8). The rest of the rules is kept where a
// change is applied (engine/cluster/membership.h).
// Replica thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/ids.h"
#include "engine/errors.h"
#include "proto/etcdserverpb.pb.h"
#include "server/replica.h"

namespace quorate::server {

enum class Reconfig { kStrict, kUnchecked };

struct RuleInputs {
  const std::vector<etcdserverpb::Member>& members;
  MemberId self;
  // How many of `voters` have been connected with this member for five seconds; itself counts.
  const std::function<size_t(const std::vector<MemberId>& voters)>& connected;
};

engine::Error MayAdd(const RuleInputs& inputs, const etcdserverpb::Member& member);
engine::Error MayRemove(const RuleInputs& inputs, MemberId member);
// Also when not strict: the learner has at least nine tenths of the leader's log. kNotLeader where
// nobody can tell.
engine::Error MayPromote(const RuleInputs& inputs, const consensus::Status& raft, MemberId member,
                         Reconfig check);

}  // namespace quorate::server
