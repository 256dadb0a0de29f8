// Whole groups under everything that a network, a disk and an operator may do, drawn from a seed:
// loss, delay, repetition, partitions, crashes, slow disks, compaction, membership changes,
// transfers and reads. The invariants hold after every step, and when the faults end the group
// works again within a bound of ticks.

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/test_seed.h"
#include "base/text.h"
#include "consensus/test_group.h"

namespace quorate::consensus {
namespace {

constexpr uint64_t kIds = 7;  // members that may ever exist

Config SmallBounds(Random* random) {
  Config config;
  config.election_ticks = static_cast<uint32_t>(2 + random->Below(4));
  config.pre_vote = !random->OneIn(4);
  config.check_quorum = config.pre_vote || !random->OneIn(2);
  config.append_bytes_max = random->OneIn(2) ? 8 : 1 << 20;
  config.appends_in_flight_max = static_cast<uint32_t>(1 + random->Below(5));
  config.append_bytes_in_flight_max = random->OneIn(2) ? 16 : 1 << 20;
  config.tail_bytes_max = random->OneIn(2) ? 0 : 200 + random->Below(1000);
  return config;
}

class Chaos {
 public:
  Chaos(uint64_t seed, uint64_t voters) : draw_(seed), group_(seed + 1, SmallBounds(&draw_)) {
    std::vector<uint64_t> ids;
    for (uint64_t id = 1; id <= voters; ++id) ids.push_back(id);
    std::vector<uint64_t> learners;
    if (draw_.OneIn(2)) learners.push_back(voters + 1);
    group_.AddAll(TestConf(ids, learners));
    group_.loses = [this](const Message& message) {
      return cut_.contains({message.from.value(), message.to.value()}) ||
             draw_.Below(100) < loss_percent_;
    };
  }

  void Step() {
    switch (draw_.Below(32)) {
      case 0:
      case 1:
        return WithRunning([&](TestMember& member) { member.raft().Tick(); });
      case 2:
      case 3:
        return WithRunning([&](TestMember& member) {
          group_.Propose(member.id().value(), StrCat("p", ++proposed_));
        });
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        return WithRunning([&](TestMember& member) {
          if (stalled_ != member.id()) member.Sync(&group_.in_flight);
        });
      case 9:
      case 10:
      case 11:
      case 12:
        return WithRunning([&](TestMember& member) { member.Apply(draw_.Below(6)); });
      case 13:
      case 14:
      case 15:
        return WithRunning([&](TestMember& member) { Owner(member); });
      case 16:
        return WithRunning([&](TestMember& member) { Read(member); });
      case 17:
        if (draw_.Below(100) < rare_percent_) Rare();
        return;
      default:
        for (uint64_t i = 0; i < 3; ++i) Deliver();
    }
  }

  void Round() {
    Step();
    group_.Collect();
    CheckReads();
  }

  // No faults from now on. True when the group works again: a new entry is applied by all members
  // of the newest configuration.
  bool Heals() {
    loss_percent_ = 0;
    cut_.clear();
    for (auto& [id, member] : group_.members()) {
      if (!member->running()) member->Restart();
    }
    for (int tick = 0; tick < 300; ++tick) {
      group_.TickAll();
      CheckReads();
      const uint64_t leader = group_.Leader();
      if (leader == 0) continue;
      const ConfState& conf = group_.raft(leader).conf_state();
      if (conf.joint() && !conf.auto_leave) {  // explicit: somebody has to leave it
        group_.raft(leader).ProposeConfChange(ConfChange{}).IgnoreError();
      }
      group_.Propose(leader, StrCat("after", tick));
      group_.Settle();
      if (AllHave(leader)) return true;
    }
    return false;
  }

  TestGroup& group() { return group_; }
  // How much of what can happen did happen.
  struct Seen {
    uint64_t committed = 0, terms = 0, changes = 0, installs = 0, entries_read = 0, answered = 0;
  };
  void AddTo(Seen* seen) {
    seen->committed += group_.invariants().committed().value();
    seen->terms += group_.raft(group_.Leader()).term().value();
    seen->changes += conf_changes_;
    seen->installs += installs_;
    seen->answered += answered_;
    for (const auto& [id, member] : group_.members()) seen->entries_read += member->entries_read();
  }

 private:
  template <class Function>
  void WithRunning(Function function) {
    auto at = group_.members().begin();
    std::advance(at, draw_.Below(group_.members().size()));
    if (at->second->running()) function(*at->second);
  }

  bool AllHave(uint64_t leader) {
    const TestState& state = group_.at(leader).state();
    if (state.conf.joint() || !group_.raft(leader).leader_ready()) return false;
    for (const MemberId id : state.conf.Members()) {
      if (group_.at(id.value()).state().index != state.index) return false;
    }
    return group_.raft(leader).commit() == state.index;
  }

  void Deliver() {
    if (group_.in_flight.empty()) return;
    // Mostly in order.
    const size_t window = draw_.OneIn(4) ? group_.in_flight.size() : 1;
    const size_t at = draw_.Below(window);
    if (draw_.OneIn(25)) group_.in_flight.push_back(group_.in_flight[at]);  // twice
    group_.DeliverOne(at);
  }

  void Owner(TestMember& member) {
    switch (draw_.Below(4)) {
      case 0:
        return member.AnswerLogReads();
      case 1:
        return member.AnswerSnapshotsWanted();
      case 2:
        if (!member.install()) return;
        ++installs_;
        return member.AnswerInstall(draw_.OneIn(4) ? TestMember::Install::kAbandoned
                                                   : TestMember::Install::kDone);
      case 3:
        member.Flush();
        if (member.state().index.value() < 4) return;
        return member.Compact(LogIndex(member.state().index.value() - draw_.Below(4)),
                              draw_.OneIn(2) ? TestMember::Tell::kRaft : TestMember::Tell::kNobody);
    }
  }

  void Rare() {
    switch (draw_.Below(13)) {
      case 0:
        return Crash();
      case 1:
      case 2:
      case 3:
        for (auto& [id, member] : group_.members()) {
          if (!member->running() && draw_.OneIn(2)) member->Restart();
        }
        return;
      case 4:
        cut_.insert({1 + draw_.Below(kIds), 1 + draw_.Below(kIds)});
        return;
      case 5:
        return Isolate(1 + draw_.Below(kIds));
      case 6:
      case 7:
        return cut_.clear();
      case 8:  // one disk at most takes writes and finishes none
        stalled_ = MemberId(draw_.OneIn(2) ? 1 + draw_.Below(kIds) : 0);
        return;
      case 9:
        return WithRunning([&](TestMember& member) {
          member.raft().TransferLeadership(MemberId(1 + draw_.Below(kIds))).IgnoreError();
        });
      case 10:
        return WithRunning([&](TestMember& member) {
          member.raft().ReportUnreachable(MemberId(1 + draw_.Below(kIds)));
        });
      default:
        return WithRunning([&](TestMember& member) { ChangeMembers(member); });
    }
  }

  void Crash() {
    WithRunning([&](TestMember& member) { group_.Crash(member.id().value()); });
  }

  void Isolate(uint64_t id) {
    for (uint64_t other = 1; other <= kIds; ++other) {
      cut_.insert({id, other});
      cut_.insert({other, id});
    }
  }

  void ChangeMembers(TestMember& member) {
    ConfChange change;
    if (!member.raft().conf_state().joint()) {
      const uint64_t count = draw_.OneIn(3) ? 1 + draw_.Below(3) : 1;
      for (uint64_t i = 0; i < count; ++i) {
        const MemberId id(1 + draw_.Below(kIds));
        change.changes.push_back({static_cast<ConfChangeType>(draw_.Below(4)), id});
        if (!group_.members().contains(id.value())) group_.Add(id.value(), ConfState{});
      }
      if (draw_.OneIn(3)) {
        change.transition = draw_.OneIn(2) ? ConfChangeTransition::kJointExplicit
                                           : ConfChangeTransition::kJointImplicit;
      }
    }
    if (member.raft().ProposeConfChange(change).ok()) ++conf_changes_;
  }

  void Read(TestMember& member) {
    asked_[++reads_] = group_.invariants().committed();
    member.raft().ReadIndex(reads_);
  }

  // A read sees at least what was committed when it was asked.
  void CheckReads() {
    for (auto& [id, member] : group_.members()) {
      for (const ReadReady& read : std::exchange(member->reads, {})) {
        CAPTURE(id, read.context);
        REQUIRE(read.index >= asked_.at(read.context));
        ++answered_;
      }
      member->reads_dropped.clear();
    }
  }

  Random draw_;
  TestGroup group_;
  std::set<std::pair<uint64_t, uint64_t>> cut_;
  MemberId stalled_;
  uint64_t loss_percent_ = draw_.Below(12);
  const uint64_t rare_percent_ = 5 + draw_.Below(90);
  uint64_t proposed_ = 0;
  uint64_t conf_changes_ = 0;
  uint64_t installs_ = 0;
  uint64_t reads_ = 0;
  uint64_t answered_ = 0;
  std::map<uint64_t, LogIndex> asked_;
};

TEST_CASE("a group keeps its promises whatever happens, and works again when it heals") {
  const uint64_t seed = TestSeed();
  Chaos::Seen seen;
  for (uint64_t round = 0; round < 60; ++round) {
    const uint64_t voters = round % 2 == 0 ? 3 : 5;
    CAPTURE(seed, round, voters);
    Chaos chaos(seed * 1000 + round, voters);
    for (int step = 0; step < 3000; ++step) chaos.Round();
    const bool healed = chaos.Heals();
    CAPTURE(chaos.group().StatusText());
    REQUIRE(healed);
    chaos.AddTo(&seen);
  }
  // The faults must leave room for progress, or the test shows nothing.
  CHECK(seen.committed > 1500);
  CHECK(seen.terms > 100);
  CHECK(seen.changes > 40);
  CHECK(seen.installs > 10);
  CHECK(seen.entries_read > 50);
  CHECK(seen.answered > 300);
}

}  // namespace
}  // namespace quorate::consensus
