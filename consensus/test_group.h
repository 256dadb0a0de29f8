// For tests: members and the network between them, checked by the invariants after every step.
// Nothing happens by itself; a seed decides what is drawn. With a trace, each event is one line.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "consensus/invariants.h"
#include "consensus/raft.h"
#include "consensus/test_member.h"

namespace quorate::consensus {

ConfState TestConf(std::vector<uint64_t> voters, std::vector<uint64_t> learners = {});
std::string ToText(const Message& message);

class TestGroup {
 public:
  explicit TestGroup(uint64_t seed, Config config = {});

  // `self` of the group's config is set to `id`.
  TestMember& Add(uint64_t id, const ConfState& founders);
  // All members of a new group.
  void AddAll(const ConfState& founders);
  TestMember& at(uint64_t id) { return *members_.at(id); }
  Raft& raft(uint64_t id) { return at(id).raft(); }
  std::map<uint64_t, std::unique_ptr<TestMember>>& members() { return members_; }
  Random& random() { return random_; }
  RaftInvariants& invariants() { return invariants_; }

  // What is under way. The test may change it.
  std::vector<Message> in_flight;
  // Messages for which this answers true are lost when their turn comes.
  std::function<bool(const Message&)> loses;
  // These members' disks take what they are given and never finish, nor do they apply.
  std::set<uint64_t> stalled_disks;
  std::set<uint64_t> not_applying;
  std::set<uint64_t> slow_readers;  // their log stores do not answer
  // Lines of what happened, when not null.
  std::vector<std::string>* trace = nullptr;

  // Takes every member's output.
  void Collect();
  void DeliverOne(size_t at);  // the message in_flight[at]
  // Everything that can happen without a tick happens, until nothing is left to do.
  void Settle();
  void Tick(uint64_t id, int times = 1);
  // All members that run, `times` ticks with everything settled between them.
  void TickAll(int times = 1);
  // Member `id` ticks until it wants to lead; then all settles. True when it leads.
  bool Campaign(uint64_t id);
  void Propose(uint64_t id, std::string_view payload);
  void Crash(uint64_t id);

  // One line for each member, and one for each peer of a leader.
  std::string StatusText();
  // The member that leads in the highest term and runs; 0 = none.
  uint64_t Leader();
  void Check();  // the invariants, and equal histories; fails the test

 private:
  bool StepOwner(TestMember& member);
  void Arrive(Message message);
  void Lost(const Message& message);
  void Trace(std::string line) const;
  void TraceChanges();

  const Config config_;
  Random random_;
  TestSnapshots snapshots_;
  RaftInvariants invariants_;
  std::map<uint64_t, std::unique_ptr<TestMember>> members_;
  std::map<LogIndex, uint64_t> digests_;
  std::map<uint64_t, std::string> shown_;  // what the trace said of a member
  std::map<uint64_t, LogIndex> shown_commit_;
  std::map<uint64_t, size_t> shown_applied_;
};

}  // namespace quorate::consensus
