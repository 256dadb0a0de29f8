// The judges of watches and leases, on right records and with one planted violation each.
#include <catch2/catch.hpp>

#include "base/clock.h"
#include "tests/sim/check/check_test_util.h"
#include "tests/sim/check/lease_check.h"
#include "tests/sim/check/watch_check.h"

namespace quorate::sim {
namespace {

using World = CheckedWorld;

World::Request TwoPuts(const std::string& a, const std::string& b) {
  World::Request request;
  for (const std::string& key : {a, b}) {
    auto* put = request.mutable_txn()->add_success()->mutable_request_put();
    put->set_key(key);
    put->set_value("both");
  }
  return request;
}

World WatchedWorld() {
  World world;
  world.Commit(World::PutOf("a", "1"));
  world.Commit(World::PutOf("b", "2"));
  world.Commit(World::DeleteOf("a"));
  world.Commit(TwoPuts("c", "d"));
  world.Commit(World::PutOf("e", "5"));
  return world;
}

size_t Found(const World& world) {
  return CheckWatches(world.truth, world.history.watches, world.truth.model().revision()).size();
}

TEST_CASE("a watch that got everything passes, from the start and from later on") {
  World world = WatchedWorld();
  world.AddWatch(2);
  world.AddWatch(4);
  CHECK(Found(world) == 0);
}

TEST_CASE("planted: a watcher that skips a revision, hears one twice, or in the wrong order") {
  for (int kind = 0; kind < 3; ++kind) {
    World world = WatchedWorld();
    auto& responses = world.AddWatch(2).responses;
    if (kind == 0) responses.erase(responses.begin() + 1);
    if (kind == 1) responses.insert(responses.begin() + 1, responses[0]);
    if (kind == 2) std::swap(responses[1], responses[2]);
    CHECK(Found(world) == 1);
  }
}

TEST_CASE("planted: a torn transaction; in announced fragments it is none") {
  World world = WatchedWorld();
  auto& responses = world.AddWatch(2).responses;
  WatchRecord::Response rest = responses[3];
  responses[3].events.pop_back();
  rest.events.erase(rest.events.begin());
  responses.insert(responses.begin() + 4, rest);
  CHECK(Found(world) == 1);
  responses[3].fragment = true;
  CHECK(Found(world) == 0);
}

TEST_CASE("planted: another value; progress ahead of events; an event too few at the end") {
  World world = WatchedWorld();
  world.AddWatch(2).responses[0].events[0].mutable_kv()->set_value("other");
  CHECK(Found(world) == 1);
  world.history.watches.clear();
  auto& ahead = world.AddWatch(2).responses;
  ahead[2].events.clear();
  CHECK(Found(world) == 1);
  world.history.watches.clear();
  world.AddWatch(2).responses.pop_back();
  CHECK(Found(world) == 1);
  world.history.watches[0].end = WatchRecord::End::kBroken;
  CHECK(Found(world) == 0);
}

TEST_CASE("planted: ended as compacted without a compaction") {
  World world = WatchedWorld();
  WatchRecord& watch = world.AddWatch(2);
  watch.responses.resize(1);
  watch.end = WatchRecord::End::kCompacted;
  watch.compact_revision = 4;
  CHECK(Found(world) == 1);
  World::Request compaction;
  compaction.mutable_compaction()->set_revision(4);
  world.Commit(compaction);
  CHECK(Found(world) == 0);
}

World LeasedWorld() {
  World world;
  World::Request grant;
  grant.mutable_lease_grant()->set_id(7);
  grant.mutable_lease_grant()->set_ttl(5);
  world.Do(grant);
  return world;
}

void Revoke(World* world) {
  World::Request revoke;
  revoke.mutable_lease_revoke()->set_id(7);
  world->Commit(revoke);
}

TEST_CASE("leases: in time, early, never") {
  World world = LeasedWorld();
  const int64_t start_ns = world.now_ns;
  world.history.renewals.push_back({7, start_ns + kNanosPerSecond, start_ns + kNanosPerSecond, 5});
  LeaseRules rules;
  SECTION("in time") {
    world.now_ns = start_ns + 6 * kNanosPerSecond;
    Revoke(&world);
    CHECK(CheckLeases(world.truth, world.history, rules).empty());
  }
  SECTION("early") {
    world.now_ns = start_ns + 5 * kNanosPerSecond;
    Revoke(&world);
    CHECK(CheckLeases(world.truth, world.history, rules).size() == 1);
    rules.clock_gain_ppm = 300'000;  // a clock that fast may end it so early
    CHECK(CheckLeases(world.truth, world.history, rules).empty());
  }
  SECTION("never") {
    rules.gone_if_before_ns = start_ns + 2 * kNanosPerSecond;
    CHECK(CheckLeases(world.truth, world.history, rules).size() == 1);
  }
  SECTION("told to be gone while it was there") {
    world.history.renewals.push_back(
        {7, start_ns + 2 * kNanosPerSecond, start_ns + 2 * kNanosPerSecond, 0});
    CHECK(CheckLeases(world.truth, world.history, rules).size() == 1);
  }
}

}  // namespace
}  // namespace quorate::sim
