// Raft as a value: one member alone, and a network of several on virtual time that loses, delays
// and repeats messages and loses power.

#include "consensus/raft.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::consensus {
namespace {

Bytes Payload(std::string_view text) { return Bytes::Copy(text); }

// A member with its disk: what was appended, and how much of it a sync has made durable.
class Member {
 public:
  Member(uint64_t id, std::vector<MemberId> voters, Random* random)
      : id_(id), voters_(std::move(voters)), random_(random) {
    Start();
  }

  Raft& raft() { return *raft_; }
  MemberId id() const { return MemberId(id_); }
  const std::vector<Entry>& applied() const { return applied_; }

  // Takes the output; messages that may leave go to *out. Messages that rest on the disk wait.
  void Collect(std::vector<Message>* out) {
    if (!raft_->HasOutput()) return;
    Output output = raft_->TakeOutput();
    if (output.hard_state) state_ = *output.hard_state;
    for (Entry& entry : output.append) {
      log_.resize(entry.index.value() - 1);
      log_.push_back(std::move(entry));
      durable_ = std::min(durable_, log_.size() - 1);
    }
    for (Message& message : output.messages) out->push_back(std::move(message));
    for (Message& message : output.messages_after_durable) waiting_.push_back(std::move(message));
    for (Entry& entry : output.committed) {
      REQUIRE(entry.index.value() == applied_.size() + 1);
      REQUIRE(entry.index.value() <= durable_);
      applied_.push_back(std::move(entry));
    }
    for (const ReadReady& read : output.reads) reads.push_back(read);
  }

  void Sync(std::vector<Message>* out) {
    synced_state_ = state_;
    durable_ = log_.size();
    for (Message& message : waiting_) out->push_back(std::move(message));
    waiting_.clear();
    if (!log_.empty()) raft_->Durable(log_.back().index, log_.back().term);
  }

  // Power loss: what was not synced is gone; what was applied comes from the backend.
  void Crash() {
    log_.resize(durable_);
    state_ = synced_state_;
    waiting_.clear();
    applied_.clear();
    Start();
  }

  std::vector<ReadReady> reads;

 private:
  void Start() {
    Config config;
    config.self = id();
    InitialState initial;
    initial.hard_state = state_;
    initial.hard_state.commit =
        std::min(initial.hard_state.commit, LogIndex(static_cast<uint64_t>(log_.size())));
    initial.conf_state.voters = voters_;
    initial.entries = log_;
    initial.last_index = LogIndex(log_.size());
    raft_ = std::make_unique<Raft>(config, std::move(initial), random_);
  }

  const uint64_t id_;
  const std::vector<MemberId> voters_;
  Random* const random_;
  std::unique_ptr<Raft> raft_;
  std::vector<Entry> log_;
  size_t durable_ = 0;
  HardState state_, synced_state_;
  std::vector<Message> waiting_;
  std::vector<Entry> applied_;
};

TEST_CASE("a member that is alone elects itself at its first tick and commits what is durable") {
  Random random(1);
  Member member(1, {MemberId(1)}, &random);
  std::vector<Message> out;
  CHECK_FALSE(member.raft().Propose({Payload("early")}).ok());
  member.raft().Tick();
  CHECK(member.raft().role() == Role::kLeader);
  CHECK_FALSE(member.raft().leader_ready());
  member.Collect(&out);
  member.Sync(&out);
  member.Collect(&out);
  CHECK(member.raft().leader_ready());

  REQUIRE(member.raft().Propose({Payload("a"), Payload("b")}).ok());
  member.raft().ReadIndex(7);
  member.Collect(&out);
  CHECK(member.applied().size() == 1);  // the no-op: nothing else is on disk yet
  REQUIRE(member.reads.size() == 1);
  CHECK(member.reads[0].context == 7);
  CHECK(member.reads[0].index == LogIndex(1));
  member.Sync(&out);
  member.Collect(&out);
  REQUIRE(member.applied().size() == 3);
  CHECK(member.applied()[2].data.view() == "b");
  CHECK(out.empty());
}

TEST_CASE(
    "what was committed by a member alone is there after a crash, what was not synced is not") {
  Random random(2);
  Member member(1, {MemberId(1)}, &random);
  std::vector<Message> out;
  member.raft().Tick();
  member.Collect(&out);
  member.Sync(&out);
  member.Collect(&out);
  REQUIRE(member.raft().Propose({Payload("kept")}).ok());
  member.Collect(&out);
  member.Sync(&out);
  member.Collect(&out);
  REQUIRE(member.raft().Propose({Payload("lost")}).ok());
  member.Collect(&out);
  const Term before = member.raft().term();
  member.Crash();
  member.raft().Tick();
  member.Collect(&out);
  member.Sync(&out);
  member.Collect(&out);
  CHECK(member.raft().term() > before);
  REQUIRE(member.applied().size() == 3);  // no-op, kept, the new term's no-op
  CHECK(member.applied()[1].data.view() == "kept");
  CHECK(member.applied()[2].data.empty());
}

// Drives several members; after every step no two leaders share a term and all applied sequences
// are prefixes of one another.
class Network {
 public:
  Network(uint64_t members, uint64_t seed) : random_(seed) {
    std::vector<MemberId> voters;
    for (uint64_t id = 1; id <= members; ++id) voters.push_back(MemberId(id));
    for (uint64_t id = 1; id <= members; ++id) {
      members_.push_back(std::make_unique<Member>(id, voters, &random_));
    }
  }

  void Step(uint64_t loss_percent, bool crashes) {
    Member& member = *members_[random_.Below(members_.size())];
    switch (random_.Below(8)) {
      case 0:
        member.raft().Tick();
        break;
      case 1:
        if (member.raft().Propose({Payload(StrCat("p", ++proposed_))}).ok()) ++accepted_;
        break;
      case 2:
        if (crashes && random_.OneIn(40)) member.Crash();
        break;
      case 3:
        member.Sync(&in_flight_);
        break;
      default:
        Deliver(loss_percent);
    }
    for (auto& each : members_) each->Collect(&in_flight_);
    Check();
  }

  size_t applied_by_all() const {
    size_t least = SIZE_MAX;
    for (const auto& member : members_) least = std::min(least, member->applied().size());
    return least;
  }

 private:
  void Deliver(uint64_t loss_percent) {
    if (in_flight_.empty()) return;
    const size_t at = random_.Below(in_flight_.size());
    Message message = in_flight_[at];
    if (!random_.OneIn(20)) {  // else it is delivered again later
      std::swap(in_flight_[at], in_flight_.back());
      in_flight_.pop_back();
    }
    if (random_.Below(100) < loss_percent) return;
    members_[message.to.value() - 1]->raft().Receive(std::move(message));
  }

  void Check() {
    for (auto& member : members_) {
      if (member->raft().role() == Role::kLeader) {
        const auto [known, is_new] =
            leaders_.emplace(member->raft().term().value(), member->id().value());
        REQUIRE((is_new || known->second == member->id().value()));
      }
      const std::vector<Entry>& applied = member->applied();
      bool same = true;
      for (size_t i = 0; i < applied.size(); ++i) {
        if (i == history_.size()) history_.push_back({applied[i].term, Text(applied[i])});
        same = same && history_[i] == std::pair(applied[i].term, Text(applied[i]));
      }
      REQUIRE(same);
    }
  }
  static std::string Text(const Entry& entry) { return std::string(entry.data.view()); }

  Random random_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Message> in_flight_;
  std::map<uint64_t, uint64_t> leaders_;  // term -> who led it
  std::vector<std::pair<Term, std::string>> history_;
  uint64_t proposed_ = 0, accepted_ = 0;
};

TEST_CASE("members agree whatever the network and the power do, and go on when it heals") {
  const uint64_t members = GENERATE(3, 5);
  const uint64_t seed = TestSeed();
  for (uint64_t round = 0; round < 8; ++round) {
    CAPTURE(seed, members, round);
    Network network(members, seed * 100 + round);
    for (int step = 0; step < 2500; ++step) network.Step(/*loss_percent=*/10, /*crashes=*/true);
    const size_t before = network.applied_by_all();
    for (int step = 0; step < 20000 && network.applied_by_all() < before + 10; ++step) {
      network.Step(/*loss_percent=*/0, /*crashes=*/false);
    }
    REQUIRE(network.applied_by_all() >= before + 10);
  }
}

}  // namespace
}  // namespace quorate::consensus
