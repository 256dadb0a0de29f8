// The rules of membership changes, their bytes, and what a quorum is while two configurations hold.

#include "consensus/conf_change.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/test_seed.h"
#include "base/text.h"
#include "consensus/quorum.h"
#include "consensus/test_group.h"

namespace quorate::consensus {
namespace {

ConfChangeSingle Add(uint64_t id) { return {ConfChangeType::kAddVoter, MemberId(id)}; }
ConfChangeSingle AddLearner(uint64_t id) { return {ConfChangeType::kAddLearner, MemberId(id)}; }
ConfChangeSingle Remove(uint64_t id) { return {ConfChangeType::kRemoveMember, MemberId(id)}; }

std::string After(const ConfState& state, const ConfChange& change) {
  const absl::StatusOr<ConfState> changed = ChangeConf(state, change);
  return changed.ok() ? ToText(*changed) : std::string(ToStd(changed.status().message()));
}

std::string Hex(const Bytes& bytes) {
  std::string out;
  for (const char c : bytes.view()) {
    for (const int digit : {c >> 4 & 15, c & 15}) out.push_back("0123456789abcdef"[digit]);
  }
  return out;
}

TEST_CASE("one member changes without a joint configuration") {
  const ConfState three = TestConf({1, 2, 3}, {4});
  CHECK(After(three, {.changes = {Add(5)}}) == "voters=(1 2 3 5) learners=(4)");
  CHECK(After(three, {.changes = {Add(4)}}) == "voters=(1 2 3 4)");
  CHECK(After(three, {.changes = {AddLearner(5)}}) == "voters=(1 2 3) learners=(4 5)");
  CHECK(After(three, {.changes = {AddLearner(3)}}) == "voters=(1 2) learners=(3 4)");
  CHECK(After(three, {.changes = {Remove(1)}}) == "voters=(2 3) learners=(4)");
  CHECK(After(three, {.changes = {Remove(4)}}) == "voters=(1 2 3)");
  CHECK(After(three, {.changes = {Remove(9)}}) == "voters=(1 2 3) learners=(4)");
  CHECK(After(three, {.changes = {Add(1)}}) == "voters=(1 2 3) learners=(4)");
  // How an application voids what it refuses.
  CHECK(After(three, {.changes = {Add(0)}}) == "voters=(1 2 3) learners=(4)");
  CHECK(After(ConfState{}, {.changes = {Add(7)}}) == "voters=(7)");
}

TEST_CASE("several members change through a joint configuration and out of it") {
  const ConfState three = TestConf({1, 2, 3}, {4});
  const ConfChange several{.changes = {Add(4), AddLearner(3), Remove(1), Add(5)}};
  const std::string joint = "voters=(2 4 5)&&(1 2 3) learners_next=(3) autoleave";
  REQUIRE(After(three, several) == joint);
  const ConfState state = *ChangeConf(three, several);
  CHECK(state.IsVoter(MemberId(1)));
  CHECK(state.IsVoter(MemberId(3)));
  CHECK_FALSE(state.IsLearner(MemberId(3)));
  CHECK(state.Members().size() == 5);
  CHECK(After(state, ConfChange{}) == "voters=(2 4 5) learners=(3)");

  const ConfChange explicit_one{.transition = ConfChangeTransition::kJointExplicit,
                                .changes = {Add(5)}};
  CHECK(After(three, explicit_one) == "voters=(1 2 3 5)&&(1 2 3) learners=(4)");
  const ConfChange implicit_one{.transition = ConfChangeTransition::kJointImplicit,
                                .changes = {Remove(2)}};
  CHECK(After(three, implicit_one) == "voters=(1 3)&&(1 2 3) learners=(4) autoleave");
}

TEST_CASE("a member that leaves in the new half and comes back as a learner waits for it") {
  const ConfState joint =
      *ChangeConf(TestConf({1, 2, 3}), {.changes = {Remove(3), Add(4), AddLearner(3)}});
  CHECK(ToText(joint) == "voters=(1 2 4)&&(1 2 3) learners_next=(3) autoleave");
}

TEST_CASE("what is not allowed is refused with the reason") {
  const ConfState one = TestConf({1}, {2});
  const ConfState joint = *ChangeConf(TestConf({1, 2, 3}), {.changes = {Add(4), Remove(1)}});
  CHECK(After(one, {.changes = {Remove(1)}}) == "no voter would be left");
  CHECK(After(one, {.changes = {AddLearner(1)}}) == "no voter would be left");
  CHECK(After(one, ConfChange{}) == "there is no joint configuration to leave");
  CHECK(After(joint, {.changes = {Add(5)}}) == "the configuration is joint");
  CHECK(After(joint, {.changes = {Add(5), Add(6)}}) == "the configuration is joint already");
  CHECK(After(ConfState{}, {.changes = {Add(1), Add(2)}}) ==
        "a group without voters cannot become joint");
  CHECK(ChangeConf(one, {.changes = {Remove(1)}}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(ChangeConf(joint, {.changes = {Add(5)}}).status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

ConfChange Parse(std::string_view text) {
  ConfChange change;
  for (const std::string_view word : StrSplit(text, ' ')) {
    if (word == "joint") change.transition = ConfChangeTransition::kJointImplicit;
    if (word == "explicit") change.transition = ConfChangeTransition::kJointExplicit;
    const uint64_t id = static_cast<uint64_t>(word[1] - '0');
    if (word[0] == '+') change.changes.push_back(Add(id));
    if (word[0] == '~') change.changes.push_back(AddLearner(id));
    if (word[0] == '-') change.changes.push_back(Remove(id));
  }
  return change;
}

TEST_CASE("sequences of changes lead where they lead in etcd's library") {
  std::ifstream file(std::string(QUORATE_RAFT_TESTDATA) + "/etcd/conf_changes.txt");
  ConfState state;
  int steps = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) state = ConfState{};
    const size_t arrow = line.find(" => ");
    if (arrow == std::string::npos || line[0] == '#') continue;
    const absl::StatusOr<ConfState> changed = ChangeConf(state, Parse(line.substr(0, arrow)));
    if (changed.ok()) state = *changed;
    CAPTURE(line);
    CHECK((changed.ok() ? ToText(state) : "refused") == line.substr(arrow + 4));
    ++steps;
  }
  CHECK(steps > 300);
}

// The bytes were written down from etcd's own encoder (go.etcd.io/raft, raftpb).
TEST_CASE("changes have raftpb's bytes") {
  const EncodedConfChange one =
      EncodeConfChange({.changes = {{ConfChangeType::kAddLearner, MemberId(0x1234)}},
                        .id = 7,
                        .context = Bytes::Copy("ab")});
  CHECK(one.type == EntryType::kConfChange);
  CHECK(Hex(one.data) == "0807100318b42422026162");
  const EncodedConfChange many =
      EncodeConfChange({.transition = ConfChangeTransition::kJointExplicit,
                        .changes = {Add(1), Remove(300)},
                        .context = Bytes::Copy("c")});
  CHECK(many.type == EntryType::kConfChangeV2);
  CHECK(Hex(many.data) ==
        "0802"
        "120408001001"
        "1205080110ac02"
        "1a0163");
  const EncodedConfChange leave = EncodeConfChange(ConfChange{});
  CHECK(leave.type == EntryType::kConfChangeV2);
  CHECK(leave.data.empty());
}

TEST_CASE("a change survives its encoding, and broken bytes are refused") {
  Random random(TestSeed());
  for (int round = 0; round < 500; ++round) {
    ConfChange change;
    change.transition = static_cast<ConfChangeTransition>(random.Below(3));
    for (uint64_t i = random.Below(4); i > 0; --i) {
      change.changes.push_back({static_cast<ConfChangeType>(random.Below(4)),
                                MemberId(random.OneIn(2) ? random.Next() : random.Below(5))});
    }
    if (random.OneIn(2)) change.context = Bytes::Copy("somebody");
    EncodedConfChange encoded = EncodeConfChange(change);
    const absl::StatusOr<ConfChange> back = DecodeConfChange(encoded.type, encoded.data);
    REQUIRE(back.ok());
    CHECK(back->transition == change.transition);
    CHECK(back->changes == change.changes);
    CHECK(back->context.view() == change.context.view());
    // Anything may come out of other bytes, but no crash.
    std::string broken(encoded.data.view());
    if (broken.empty()) continue;
    broken[random.Below(broken.size())] = static_cast<char>(random.Next());
    broken.resize(1 + random.Below(broken.size()));
    DecodeConfChange(encoded.type, Bytes::FromString(broken)).status().IgnoreError();
  }
  CHECK_FALSE(DecodeConfChange(EntryType::kConfChange, Bytes::Copy("\x08")).ok());
  CHECK_FALSE(DecodeConfChange(EntryType::kConfChange, Bytes::Copy("\x22\x05y")).ok());
  CHECK_FALSE(DecodeConfChange(EntryType::kConfChange, Bytes::Copy("\x10\x09")).ok());
  CHECK_FALSE(DecodeConfChange(EntryType::kNormal, Bytes()).ok());
}

TEST_CASE("a field of a newer version is passed over") {
  // Field 15 (bytes "new") and field 16 (varint) behind a known change.
  const Bytes data =
      Bytes::Copy(std::string_view("\x08\x01\x10\x00\x18\x05\x7a\x03new\x80\x01\x01", 14));
  const absl::StatusOr<ConfChange> change = DecodeConfChange(EntryType::kConfChange, data);
  REQUIRE(change.ok());
  CHECK(change->changes == std::vector<ConfChangeSingle>{Add(5)});
}

// All majorities, by trying all subsets.
TEST_CASE("what a quorum reached is what some majority of each half has") {
  Random random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    ConfState conf;
    std::map<MemberId, uint64_t> reached;
    for (uint64_t id = 1; id <= 6; ++id) {
      reached[MemberId(id)] = random.Below(5);
      if (random.OneIn(2)) conf.voters.push_back(MemberId(id));
      if (random.OneIn(3)) conf.voters_outgoing.push_back(MemberId(id));
    }
    const auto majority_has = [&](const std::vector<MemberId>& voters, uint64_t value) {
      size_t have = 0;
      for (const MemberId id : voters) have += reached[id] >= value ? 1 : 0;
      return voters.empty() || 2 * have > voters.size();
    };
    const uint64_t quorum = QuorumReached(conf, [&](MemberId id) { return reached[id]; });
    for (uint64_t value = 0; value <= 5; ++value) {
      const bool expected =
          majority_has(conf.voters, value) && majority_has(conf.voters_outgoing, value);
      CHECK((quorum >= value) == expected);
    }
  }
}

TEST_CASE("an election is lost as soon as it cannot be won in one of the halves") {
  ConfState joint = TestConf({1, 2, 3});
  joint.voters_outgoing = {MemberId(3), MemberId(4), MemberId(5)};
  std::map<MemberId, bool> votes;
  const auto vote = [&](uint64_t id, bool granted) {
    votes[MemberId(id)] = granted;
    return CountVotes(joint, votes);
  };
  CHECK(vote(1, true) == VoteResult::kPending);
  CHECK(vote(2, true) == VoteResult::kPending);  // enough for one half only
  CHECK(vote(9, true) == VoteResult::kPending);  // a stranger
  CHECK(vote(4, false) == VoteResult::kPending);
  SECTION("refused by the old half") { CHECK(vote(5, false) == VoteResult::kLost); }
  SECTION("won in both") {
    CHECK(vote(5, true) == VoteResult::kPending);
    CHECK(vote(3, true) == VoteResult::kWon);
  }
}

}  // namespace
}  // namespace quorate::consensus
