// What the papers say, by their sections: "Raft" is Ongaro and Ousterhout, In Search of an
// Understandable Consensus Algorithm (extended version); "thesis" is Ongaro, Consensus: Bridging
// Theory and Practice. One member against messages written by hand, or a small group.

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "consensus/test_group.h"

namespace quorate::consensus {
namespace {

using Type = MessageType;

// Member 1 of 1, 2, 3 (term 1, log 1/1 to 1/3), the others played by the test.
class Alone {
 public:
  explicit Alone(Config config = {}) : group_(1, config) { group_.Add(1, TestConf({1, 2, 3})); }

  Raft& raft() { return group_.raft(1); }
  TestMember& member() { return group_.at(1); }
  TestGroup& group() { return group_; }

  // What leaves: at once, and after the disk.
  std::vector<Message> Take() {
    member().Collect(&group_.in_flight);
    return std::exchange(group_.in_flight, {});
  }
  std::vector<Message> Sync() {
    std::vector<Message> out = Take();
    member().Sync(&out);
    return out;
  }
  void Receive(Message message) {
    message.to = MemberId(1);
    raft().Receive(std::move(message));
  }
  void Lead() {
    while (raft().role() == Role::kFollower) raft().Tick();
    Sync();
    Receive({.type = Type::kPreVoteResponse, .from = MemberId(2), .term = raft().term().Next()});
    Sync();
    Receive({.type = Type::kVoteResponse, .from = MemberId(2), .term = raft().term()});
    REQUIRE(raft().role() == Role::kLeader);
    Sync();
    Take();
  }

 private:
  TestGroup group_;
};

Entry NewEntry(uint64_t term, uint64_t index, const char* data = "x") {
  return {Term(term), LogIndex(index), EntryType::kNormal, Bytes::Copy(data)};
}

Message AppendOf(uint64_t term, uint64_t after_term, uint64_t after, std::vector<Entry> entries,
                 uint64_t commit) {
  return {.type = Type::kAppend,
          .from = MemberId(2),
          .term = Term(term),
          .log_term = Term(after_term),
          .index = LogIndex(after),
          .entries = std::move(entries),
          .commit = LogIndex(commit)};
}

std::vector<Message> Of(Type type, const std::vector<Message>& messages) {
  std::vector<Message> found;
  for (const Message& message : messages) {
    if (message.type == type) found.push_back(message);
  }
  return found;
}

TEST_CASE("Raft 5.1: a leader or candidate that hears of a later term follows") {
  Alone one;
  const bool leads = GENERATE(true, false);
  if (leads) {
    one.Lead();
  } else {
    while (one.raft().role() == Role::kFollower) one.raft().Tick();
  }
  one.Receive(AppendOf(9, 1, 3, {}, 0));
  CHECK(one.raft().role() == Role::kFollower);
  CHECK(one.raft().term() == Term(9));
  CHECK(one.raft().leader() == MemberId(2));
}

TEST_CASE("Raft 5.1: a request of an earlier term changes nothing, and its sender is told") {
  Alone one;
  one.Receive(AppendOf(5, 1, 3, {}, 0));
  one.Sync();
  one.Receive(AppendOf(4, 1, 3, {NewEntry(4, 4)}, 0));
  CHECK(one.raft().last_index() == LogIndex(3));
  const std::vector<Message> answers = one.Take();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].term == Term(5));
}

TEST_CASE("Raft 5.2: a member votes once a term, and its vote waits for its disk") {
  Config config;
  config.pre_vote = false;
  Alone one(config);
  const auto ask = [&](uint64_t candidate, uint64_t term) {
    one.Receive({.type = Type::kVote,
                 .from = MemberId(candidate),
                 .term = Term(term),
                 .log_term = Term(1),
                 .index = LogIndex(3)});
  };
  ask(2, 2);
  CHECK(Of(Type::kVoteResponse, one.Take()).empty());
  const std::vector<Message> granted = Of(Type::kVoteResponse, one.Sync());
  REQUIRE(granted.size() == 1);
  CHECK_FALSE(granted[0].reject);
  ask(3, 2);
  const std::vector<Message> refused = Of(Type::kVoteResponse, one.Sync());
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].reject);
  ask(2, 2);  // repeated
  CHECK_FALSE(Of(Type::kVoteResponse, one.Sync()).at(0).reject);

  // The vote outlives a crash.
  one.group().Crash(1);
  one.member().Restart();
  ask(3, 2);
  CHECK(Of(Type::kVoteResponse, one.Sync()).at(0).reject);
}

TEST_CASE("Raft 5.2: a candidate asks for votes once its own is on disk") {
  Config config;
  config.pre_vote = false;
  Alone one(config);
  while (one.raft().role() == Role::kFollower) one.raft().Tick();
  CHECK(one.Take().empty());
  CHECK(Of(Type::kVote, one.Sync()).size() == 2);
}

TEST_CASE(
    "Raft 5.2: a candidate that cannot win follows again, and one without answers asks again") {
  Config config;
  config.pre_vote = false;
  Alone one(config);
  while (one.raft().role() == Role::kFollower) one.raft().Tick();
  one.Sync();
  SECTION("refused") {
    for (const uint64_t voter : {2, 3}) {
      one.Receive({.type = Type::kVoteResponse,
                   .from = MemberId(voter),
                   .term = one.raft().term(),
                   .reject = true});
    }
    CHECK(one.raft().role() == Role::kFollower);
  }
  SECTION("not answered") {
    const Term asked = one.raft().term();
    for (int i = 0; i < 20; ++i) one.raft().Tick();
    CHECK(one.raft().term() > asked);
  }
}

TEST_CASE("Raft 5.2: election timeouts are spread over one to two election timeouts") {
  std::set<int> waits;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    TestGroup group(seed);
    group.Add(1, TestConf({1, 2, 3}));
    int ticks = 0;
    for (; group.raft(1).role() == Role::kFollower; ++ticks) group.raft(1).Tick();
    waits.insert(ticks);
  }
  CHECK(*waits.begin() == 10);
  CHECK(*waits.rbegin() == 19);
  CHECK(waits.size() == 10);
}

TEST_CASE("Raft 5.3: a follower's log becomes the leader's, as in figure 7") {
  // Terms of the follower's log behind the common 1/1 to 1/3; the leader has 1 1 1 4 4 5 5 6 6.
  const std::vector<uint64_t> terms = GENERATE(
      std::vector<uint64_t>{4, 4, 5, 5, 6}, std::vector<uint64_t>{},
      std::vector<uint64_t>{4, 4, 5, 5, 6, 6, 6}, std::vector<uint64_t>{4, 4, 5, 5, 6, 6, 7, 7},
      std::vector<uint64_t>{4, 4, 4, 4}, std::vector<uint64_t>{2, 2, 2, 3, 3, 3, 3, 3});
  const std::vector<uint64_t> leaders = {4, 4, 5, 5, 6, 6};
  Alone follower;
  std::vector<Entry> entries;
  for (size_t i = 0; i < terms.size(); ++i) entries.push_back(NewEntry(terms[i], 4 + i));
  follower.Receive(AppendOf(terms.empty() ? 1 : terms.back(), 1, 3, entries, 3));
  follower.Sync();

  // A leader of term 8 that starts behind its own end and goes where the hints lead.
  uint64_t after = 3 + leaders.size();
  const auto term_at = [&](uint64_t index) { return index <= 3 ? 1 : leaders.at(index - 4); };
  int rounds = 0;
  for (bool taken = false; !taken; ++rounds) {
    REQUIRE(rounds < 5);
    std::vector<Entry> rest;
    for (uint64_t i = after + 1; i <= 9; ++i) rest.push_back(NewEntry(term_at(i), i));
    follower.Receive(AppendOf(8, term_at(after), after, rest, 9));
    const std::vector<Message> answers = Of(Type::kAppendResponse, follower.Sync());
    REQUIRE(answers.size() == 1);
    taken = !answers[0].reject;
    after = answers[0].reject_hint.value();
    while (!taken && after > 3 && term_at(after) > answers[0].log_term.value()) --after;
  }
  CHECK(follower.raft().commit() == LogIndex(9));
  follower.Take();
  const Status status = follower.raft().status();
  // What was longer than the leader's and not in conflict stays, uncommitted.
  const bool keeps_tail = terms.size() > 6 && terms[5] == 6;
  CHECK(status.last == LogIndex(keeps_tail ? 3 + terms.size() : 9));
}

TEST_CASE("Raft 5.3: an append that repeats what is there takes nothing away") {
  Alone follower;
  follower.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4), NewEntry(2, 5)}, 3));
  follower.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4)}, 4));
  CHECK(follower.raft().last_index() == LogIndex(5));
  CHECK(follower.raft().commit() == LogIndex(4));
}

TEST_CASE("Raft 5.3: a follower commits no further than what the append covers") {
  Alone follower;
  follower.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4), NewEntry(2, 5)}, 3));
  follower.Receive(AppendOf(3, 2, 4, {}, 5));
  CHECK(follower.raft().commit() == LogIndex(4));
}

TEST_CASE("Raft 5.4.1: no vote for a log that is behind") {
  Alone one;
  one.Receive(AppendOf(4, 1, 3, {NewEntry(3, 4), NewEntry(4, 5)}, 3));
  one.Sync();
  one.group().Crash(1);
  one.member().Restart();
  struct Case {
    uint64_t last_term, last_index;
    bool granted;
  };
  const Case c = GENERATE(Case{4, 4, false}, Case{3, 9, false}, Case{4, 5, true}, Case{4, 6, true},
                          Case{5, 1, true});
  const Type type = GENERATE(Type::kVote, Type::kPreVote);
  one.Receive({.type = type,
               .from = MemberId(3),
               .term = Term(7),
               .log_term = Term(c.last_term),
               .index = LogIndex(c.last_index)});
  const std::vector<Message> answers = one.Sync();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].reject == !c.granted);
}

// Figure 8: an entry of an earlier term on a majority is not committed by that alone.
TEST_CASE("Raft 5.4.2: entries of earlier terms commit only with one of the leader's own") {
  Alone one;
  one.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4)}, 3));
  one.Sync();
  one.Lead();
  REQUIRE(one.raft().last_index() == LogIndex(5));  // 2/4 and the no-op of this term
  const Term term = one.raft().term();
  one.Receive(
      {.type = Type::kAppendResponse, .from = MemberId(2), .term = term, .index = LogIndex(4)});
  CHECK(one.raft().commit() == LogIndex(3));
  one.Receive(
      {.type = Type::kAppendResponse, .from = MemberId(2), .term = term, .index = LogIndex(5)});
  CHECK(one.raft().commit() == LogIndex(5));
}

TEST_CASE("Raft 6, thesis 4.2.3: a removed member cannot depose the leader") {
  const bool pre_vote = GENERATE(true, false);
  Config config;
  config.pre_vote = pre_vote;
  TestGroup group(1, config);
  group.AddAll(TestConf({1, 2, 3, 4}));
  REQUIRE(group.Campaign(1));
  // 4 does not hear that it was removed.
  group.loses = [](const Message& message) { return message.to == MemberId(4); };
  ConfChange change;
  change.changes = {{ConfChangeType::kRemoveMember, MemberId(4)}};
  REQUIRE(group.raft(1).ProposeConfChange(change).ok());
  group.Settle();
  const Term term = group.raft(1).term();
  for (int i = 0; i < 60; ++i) {
    group.raft(4).Tick();
    group.TickAll();
  }
  CHECK(group.Leader() == 1);
  CHECK(group.raft(1).term() == term);
}

TEST_CASE("Raft 7: a snapshot that the log already covers is answered and not installed") {
  Alone follower;
  follower.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4), NewEntry(2, 5)}, 3));
  follower.Sync();
  Message message{.type = Type::kSnapshot, .from = MemberId(2), .term = Term(2)};
  const auto meta = [](uint64_t index, uint64_t term) {
    return std::make_shared<const SnapshotMeta>(
        SnapshotMeta{LogIndex(index), Term(term), TestConf({1, 2, 3})});
  };
  message.snapshot = meta(4, 2);
  follower.Receive(message);
  CHECK(follower.raft().commit() == LogIndex(4));
  message.snapshot = meta(2, 1);
  follower.Receive(message);
  const std::vector<Message> answers = Of(Type::kAppendResponse, follower.Sync());
  REQUIRE(answers.size() == 2);
  CHECK(answers[1].index == LogIndex(4));
  CHECK_FALSE(follower.member().install());

  // One that it does not cover takes the log's place.
  message.snapshot = meta(9, 2);
  follower.Receive(message);
  follower.Take();
  CHECK(follower.member().install());
  CHECK(follower.raft().commit() == LogIndex(4));  // not before it is installed
}

TEST_CASE("thesis 3.10: after a transfer the old leader follows, and no tick was needed") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  REQUIRE(group.raft(1).TransferLeadership(MemberId(3)).ok());
  CHECK(group.raft(1).Propose({Bytes::Copy("x")}).code() == absl::StatusCode::kUnavailable);
  group.Settle();
  CHECK(group.raft(3).role() == Role::kLeader);
  CHECK(group.raft(1).role() == Role::kFollower);
  CHECK(group.raft(1).leader() == MemberId(3));
}

TEST_CASE("thesis 4.2.1: a new member without a vote does not hold up commits") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2}));
  REQUIRE(group.Campaign(1));
  ConfChange change;
  change.changes = {{ConfChangeType::kAddLearner, MemberId(9)}};  // never there
  REQUIRE(group.raft(1).ProposeConfChange(change).ok());
  group.Settle();
  group.Propose(1, "x");
  group.Settle();
  CHECK(group.at(2).applied() == std::vector<std::string>{"x"});
}

TEST_CASE("thesis 6.2: a leader that hears no quorum for an election timeout steps down") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  group.Crash(2);
  group.TickAll(30);
  CHECK(group.Leader() == 1);  // 3 is there
  group.Crash(3);
  group.TickAll(30);
  CHECK(group.Leader() == 0);
}

TEST_CASE("thesis 6.4: a deposed leader that does not know it answers no reads") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  group.loses = [](const Message& message) {
    return message.to == MemberId(1) || message.from == MemberId(1);
  };
  group.Tick(2, 10);
  group.Tick(3, 10);
  group.in_flight.clear();
  while (group.Leader() < 2) {
    group.raft(2).Tick();
    group.Settle();
  }
  group.Propose(2, "new");
  group.Settle();
  REQUIRE(group.raft(1).role() == Role::kLeader);
  group.raft(1).ReadIndex(5);
  group.Settle();
  CHECK(group.at(1).reads.empty());
}

TEST_CASE("thesis 9.6: a member that was cut off comes back without an election") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  const Term term = group.raft(1).term();
  group.loses = [](const Message& message) {
    return message.to == MemberId(3) || message.from == MemberId(3);
  };
  group.TickAll(100);
  group.loses = nullptr;
  group.TickAll(3);
  CHECK(group.Leader() == 1);
  CHECK(group.raft(3).term() == term);
  CHECK(group.raft(3).leader() == MemberId(1));
}

TEST_CASE("thesis 10.2.1: a leader sends before it has written, and counts itself when it has") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2}));
  REQUIRE(group.Campaign(1));
  group.stalled_disks.insert(1);
  group.Propose(1, "x");
  group.Settle();
  CHECK(group.raft(2).last_index() == group.raft(1).last_index());
  CHECK(group.raft(1).commit() < group.raft(1).last_index());
  group.stalled_disks.clear();
  group.Settle();
  CHECK(group.raft(1).commit() == group.raft(1).last_index());
}

TEST_CASE(
    "thesis 10.2.1: a sync of entries that were replaced meanwhile says nothing of the new ones") {
  Alone follower;
  follower.Receive(AppendOf(2, 1, 3, {NewEntry(2, 4), NewEntry(2, 5)}, 3));
  follower.raft().TakeOutput();  // on its way to the disk
  follower.Receive(AppendOf(3, 1, 3, {NewEntry(3, 4), NewEntry(3, 5)}, 5));
  follower.raft().TakeOutput();
  follower.raft().Durable(LogIndex(5), Term(2));
  CHECK(follower.raft().status().durable == LogIndex(3));
  CHECK(follower.raft().TakeOutput().committed.empty());
  follower.raft().Durable(LogIndex(5), Term(3));
  CHECK(follower.raft().status().durable == LogIndex(5));
  CHECK(follower.raft().TakeOutput().committed.size() == 2);
}

TEST_CASE("thesis 10.2.1: a leader commits what a quorum without it has on disk") {
  TestGroup group(1);
  group.AddAll(TestConf({1, 2, 3}));
  REQUIRE(group.Campaign(1));
  group.stalled_disks.insert(1);
  group.Propose(1, "x");
  group.Settle();
  CHECK(group.at(2).applied() == std::vector<std::string>{"x"});
  CHECK(group.at(1).applied().empty());  // its own log comes first
}

}  // namespace
}  // namespace quorate::consensus
