// A member that is alone, and what the owner of any member may rely on: what is in an Output, how
// much stays in memory, what a restart starts from.

#include "consensus/raft.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "consensus/test_group.h"

namespace quorate::consensus {
namespace {

Bytes Payload(std::string_view text) { return Bytes::Copy(text); }

TEST_CASE("a member that is alone elects itself at its first tick and commits what is durable") {
  TestGroup group(1);
  TestMember& member = group.Add(1, TestConf({1}));
  CHECK_FALSE(member.raft().Propose({Payload("early")}).ok());
  member.raft().Tick();
  CHECK(member.raft().role() == Role::kLeader);
  CHECK_FALSE(member.raft().leader_ready());
  group.Settle();
  CHECK(member.raft().leader_ready());

  REQUIRE(member.raft().Propose({Payload("a"), Payload("b")}).ok());
  member.raft().ReadIndex(7);
  group.Collect();
  member.Apply(10);
  CHECK(member.applied().empty());  // nothing of it is on disk yet
  REQUIRE(member.reads.size() == 1);
  CHECK(member.reads[0].context == 7);
  CHECK(member.reads[0].index == LogIndex(2));  // the founding and the no-op
  group.Settle();
  CHECK(member.applied() == std::vector<std::string>{"a", "b"});
  CHECK(group.in_flight.empty());
}

TEST_CASE("without the tick's advance a member that is alone waits for an election timeout") {
  Config config;
  config.initial_election_tick_advance = false;
  TestGroup group(1, config);
  group.Add(1, TestConf({1}));
  group.Tick(1, 9);
  CHECK(group.raft(1).role() == Role::kFollower);
  group.Tick(1, 10);
  CHECK(group.raft(1).role() == Role::kLeader);
}

TEST_CASE(
    "what was committed by a member alone is there after a crash, what was not synced is not") {
  TestGroup group(2);
  TestMember& member = group.Add(1, TestConf({1}));
  group.TickAll();
  group.Propose(1, "kept");
  group.Settle();
  group.Propose(1, "lost");
  group.Collect();
  const Term before = member.raft().term();
  group.Crash(1);
  member.Restart();
  group.TickAll();
  CHECK(member.raft().term() > before);
  CHECK(member.applied() == std::vector<std::string>{"kept"});
}

TEST_CASE("a crash that kept entries of a term and lost the term itself does not go back in time") {
  Random random(3);
  Config config;
  config.self = MemberId(1);
  InitialState initial;
  initial.hard_state = {Term(4), MemberId(2), LogIndex(0)};
  initial.conf_state = TestConf({1, 2, 3});
  initial.entries = {{Term(4), LogIndex(1), EntryType::kNormal, Bytes()},
                     {Term(6), LogIndex(2), EntryType::kNormal, Bytes()}};
  initial.last_index = LogIndex(2);
  Raft raft(config, std::move(initial), &random);
  CHECK(raft.term() == Term(6));
  const Output output = raft.TakeOutput();
  REQUIRE(output.hard_state);
  CHECK(output.hard_state->term == Term(6));
  CHECK(output.hard_state->vote == MemberId(0));
}

TEST_CASE("the hard state is written with term and vote, and the commit only along with entries") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  group.raft(2).Receive({.type = MessageType::kHeartbeat,
                         .to = MemberId(2),
                         .from = MemberId(1),
                         .term = group.raft(1).term(),
                         .commit = group.raft(1).commit()});
  CHECK_FALSE(group.raft(2).TakeOutput().hard_state);
  group.Propose(1, "x");
  const Output output = group.raft(1).TakeOutput();
  REQUIRE(output.hard_state);
  CHECK(output.hard_state->commit == group.raft(1).commit());
}

TEST_CASE("proposals of one turn go to a peer in one append") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  for (const char* text : {"a", "b", "c"}) group.Propose(1, text);
  group.Collect();
  REQUIRE(group.in_flight.size() == 2);
  CHECK(group.in_flight[0].entries.size() == 3);
}

TEST_CASE("memory holds a tail of the log for the others, and a member alone holds nothing") {
  Config config;
  config.tail_bytes_max = 10'000;
  const bool alone = GENERATE(true, false);
  TestGroup group(1, config);
  group.AddAll(alone ? TestConf({1}) : TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  const Bytes large = Bytes::FromString(std::string(1000, 'x'));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(group.raft(1).Propose({large}).ok());
    group.Settle();
  }
  // A peer that comes back finds what is in the tail without a read of the log store.
  if (alone) return;
  group.Crash(3);
  REQUIRE(group.raft(1).Propose({large}).ok());
  group.Settle();
  group.at(3).Flush();
  group.at(3).Restart();
  group.TickAll(3);
  CHECK(group.at(3).raft().commit() == group.raft(1).commit());
  CHECK(group.at(1).entries_read() == 0);
  // One that missed more than the tail makes the leader read, and each entry once.
  group.Crash(3);
  for (int i = 0; i < 50; ++i) REQUIRE(group.raft(1).Propose({large}).ok());
  group.Settle();
  group.at(3).Restart();
  group.TickAll(5);
  CHECK(group.at(3).raft().commit() == group.raft(1).commit());
  CHECK(group.at(1).entries_read() >= 40);
  CHECK(group.at(1).entries_read() <= 60);
}

TEST_CASE(
    "nothing is given out to apply while a snapshot is installed, and heartbeats are answered") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  Raft& raft = group.raft(2);
  const auto from_leader = [](MessageType type) {
    return Message{.type = type, .to = MemberId(2), .from = MemberId(1), .term = Term(2)};
  };
  Message append = from_leader(MessageType::kAppend);
  append.log_term = Term(1);
  append.index = LogIndex(3);
  append.entries = {{Term(2), LogIndex(4), EntryType::kNormal, Bytes()}};
  append.commit = LogIndex(4);
  raft.Receive(append);
  Message snapshot = from_leader(MessageType::kSnapshot);
  const SnapshotMeta meta{LogIndex(9), Term(2), TestConf({1, 2, 3})};
  snapshot.snapshot = std::make_shared<const SnapshotMeta>(meta);
  raft.Receive(snapshot);
  const Output asked = raft.TakeOutput();
  REQUIRE(asked.install);
  CHECK(asked.install->from == MemberId(1));
  CHECK(asked.append.size() == 1);

  raft.Durable(LogIndex(4), Term(2));
  raft.Receive(from_leader(MessageType::kHeartbeat));
  for (int i = 0; i < 30; ++i) raft.Tick();  // no campaign either
  const Output meanwhile = raft.TakeOutput();
  CHECK(meanwhile.committed.empty());
  REQUIRE(meanwhile.messages.size() == 1);
  CHECK(meanwhile.messages[0].type == MessageType::kHeartbeatResponse);
  CHECK_FALSE(raft.HasOutput());

  SECTION("installed, it goes on from there") {
    raft.SnapshotInstalled(meta);
    CHECK(raft.commit() == LogIndex(9));
    CHECK(raft.last_index() == LogIndex(9));
    const Output after = raft.TakeOutput();
    CHECK(after.committed.empty());
    REQUIRE(after.messages.size() == 1);
    CHECK(after.messages[0].index == LogIndex(9));
  }
  SECTION("abandoned, it goes on as before") {
    raft.SnapshotAbandoned(meta);
    CHECK(raft.TakeOutput().committed.size() == 1);
  }
}

TEST_CASE("messages that cannot be used are passed over") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  const Term term = group.raft(1).term();
  for (int type = 2; type <= 18; ++type) {
    if (type > 9 && type < 14) continue;  // 13 asks for a transfer, and may
    for (const uint64_t from : {0, 2, 77}) {
      for (const Term of : {Term(0), Term(1), term}) {
        // Nobody else can be the leader of this term.
        const auto message_type = static_cast<MessageType>(type);
        const bool leaders = message_type == MessageType::kAppend ||
                             message_type == MessageType::kHeartbeat ||
                             message_type == MessageType::kSnapshot;
        if (leaders && of == term) continue;
        group.raft(1).Receive(
            {.type = message_type, .to = MemberId(1), .from = MemberId(from), .term = of});
      }
    }
  }
  group.Settle();
  CHECK(group.raft(1).role() == Role::kLeader);
  // An append whose entries do not follow each other.
  Message garbled{
      .type = MessageType::kAppend, .to = MemberId(2), .from = MemberId(1), .term = term};
  garbled.log_term = term;
  garbled.index = group.raft(2).last_index();
  garbled.entries = {{term, LogIndex(90), EntryType::kNormal, Bytes()}};
  const LogIndex before = group.raft(2).last_index();
  group.raft(2).Receive(garbled);
  CHECK(group.raft(2).last_index() == before);
}

}  // namespace
}  // namespace quorate::consensus
