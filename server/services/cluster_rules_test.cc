#include "server/services/cluster_rules.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace quorate::server {
namespace {

using etcdserverpb::Member;

Member MemberOf(uint64_t id, const std::string& name, bool learner = false) {
  Member member;
  member.set_id(id);
  member.set_name(name);
  member.set_islearner(learner);
  return member;
}

struct World {
  std::vector<Member> members;
  std::set<uint64_t> connected;  // besides member 1, who is asked

  RuleInputs Inputs() {
    count = [this](const std::vector<MemberId>& voters) {
      size_t n = 0;
      for (const MemberId voter : voters) {
        n += voter == MemberId(1) || connected.contains(voter.value()) ? 1 : 0;
      }
      return n;
    };
    return {members, MemberId(1), count};
  }
  std::function<size_t(const std::vector<MemberId>&)> count;
};

const Member kVoter = MemberOf(9, "");
const Member kLearner = MemberOf(9, "", true);

TEST_CASE("a voter is added only while the started members are a quorum of the larger cluster") {
  World one{{MemberOf(1, "a")}, {}, {}};
  CHECK(MayAdd(one.Inputs(), kVoter).ok());
  World unstarted{{MemberOf(1, "a"), MemberOf(2, "")}, {2}, {}};
  CHECK(MayAdd(unstarted.Inputs(), kVoter).message ==
        engine::errors::kMemberNotEnoughStarted.message);
  CHECK(MayAdd(unstarted.Inputs(), kLearner).ok());
  World three{{MemberOf(1, "a"), MemberOf(2, "b"), MemberOf(3, "c")}, {2, 3}, {}};
  CHECK(MayAdd(three.Inputs(), kVoter).ok());
  three.connected = {2};
  CHECK(MayAdd(three.Inputs(), kVoter).message == engine::errors::kUnhealthy.message);
  CHECK(MayAdd(three.Inputs(), kLearner).message == engine::errors::kUnhealthy.message);
}

TEST_CASE("a member is removed only while the rest works") {
  World three{
      {MemberOf(1, "a"), MemberOf(2, "b"), MemberOf(3, "c"), MemberOf(4, "", true)}, {2, 3}, {}};
  CHECK(MayRemove(three.Inputs(), MemberId(2)).ok());
  CHECK(MayRemove(three.Inputs(), MemberId(4)).ok());
  three.connected = {2};
  CHECK(MayRemove(three.Inputs(), MemberId(2)).message == engine::errors::kUnhealthy.message);
  CHECK(MayRemove(three.Inputs(), MemberId(3)).ok());  // it is down already
  World last{{MemberOf(1, "a")}, {}, {}};
  CHECK(MayRemove(last.Inputs(), MemberId(1)).message ==
        engine::errors::kMemberNotEnoughStarted.message);
}

TEST_CASE("a learner votes when it has nine tenths of the log, and only a leader can tell") {
  World world{{MemberOf(1, "a"), MemberOf(4, "", true)}, {}, {}};
  consensus::Status raft;
  raft.self = MemberId(1);
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kStrict).message ==
        engine::errors::kNotLeader.message);
  raft.role = consensus::Role::kLeader;
  raft.durable = LogIndex(100);
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kStrict).message ==
        engine::errors::kMemberNotFound.message);
  raft.peers.push_back({.id = MemberId(4), .learner = true, .match = LogIndex(89)});
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kStrict).message ==
        engine::errors::kLearnerNotReady.message);
  raft.peers[0].match = LogIndex(90);
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kStrict).ok());
  world.members.push_back(MemberOf(2, ""));
  world.members.push_back(MemberOf(3, ""));
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kStrict).message ==
        engine::errors::kMemberNotEnoughStarted.message);
  CHECK(MayPromote(world.Inputs(), raft, MemberId(4), Reconfig::kUnchecked).ok());
}

}  // namespace
}  // namespace quorate::server
