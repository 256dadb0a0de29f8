// Both judges of operations, on right histories and on histories with one planted violation.
#include "tests/sim/check/operation_check.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/test_seed.h"
#include "base/text.h"
#include "tests/sim/check/check_test_util.h"
#include "tests/sim/check/linearizability.h"

namespace quorate::sim {
namespace {

using World = CheckedWorld;

size_t FoundByOrder(const World& world) {
  return CheckOperations(world.truth, world.history.operations).size();
}
size_t FoundBySearch(const World& world) {
  const SearchResult result = SearchLinearization(world.history.operations, {});
  REQUIRE(result.undecided == 0);
  return result.violations.size();
}

// A few operations with some overlap.
World SmallWorld() {
  World world;
  world.Do(World::PutOf("a", "1"));
  const size_t slow = world.Begin(World::PutOf("a", "2"));
  world.Do(World::GetOf("a"));
  world.End(slow);
  world.Do(World::SwapOf("a", "2", "3"));
  world.Do(World::SwapOf("a", "2", "4"));
  world.Do(World::GetOf("a"));
  world.Do(World::DeleteOf("a"));
  world.Do(World::PutOf("b", "5"));
  world.Do(World::GetOf("a", "c"));
  return world;
}

mvccpb::KeyValue* OnlyKv(Operation* operation) {
  return operation->response.mutable_response_range()->mutable_kvs(0);
}

TEST_CASE("a right history passes both judges") {
  const World world = SmallWorld();
  CHECK(FoundByOrder(world) == 0);
  CHECK(FoundBySearch(world) == 0);
}

TEST_CASE("planted: a stale read") {
  World world;
  world.Do(World::PutOf("a", "1"));
  const size_t old = world.Do(World::GetOf("a"));
  world.Do(World::PutOf("a", "2"));
  const size_t read = world.Do(World::GetOf("a"));
  world.history.operations[read].response = world.history.operations[old].response;
  world.history.operations[read].revision = world.history.operations[old].revision;
  CHECK(FoundByOrder(world) == 1);
  CHECK(FoundBySearch(world) == 1);
  world.history.operations[read].read = Operation::Read::kSerializable;
  CHECK(FoundByOrder(world) == 0);
  CHECK(FoundBySearch(world) == 0);
}

TEST_CASE("planted: an acknowledged write that is lost") {
  World world;
  world.Do(World::PutOf("a", "1"));
  const size_t lost = world.Begin(World::PutOf("a", "2"));
  Operation& operation = world.history.operations[lost];
  operation.outcome = Operation::Outcome::kDone;
  operation.revision = 3;
  operation.response.mutable_response_put();
  operation.returned = ++world.step;
  world.Do(World::GetOf("a"));
  CHECK(FoundByOrder(world) >= 1);
  CHECK(FoundBySearch(world) == 1);
}

TEST_CASE("planted: a write that is applied twice") {
  World world;
  const size_t put = world.Do(World::PutOf("a", "1"));
  world.Do(World::DeleteOf("a"));
  world.Commit(world.history.operations[put].request);
  world.Do(World::GetOf("a"));
  CHECK(FoundByOrder(world) >= 1);
  CHECK(FoundBySearch(world) == 1);
}

TEST_CASE("planted: revisions out of order") {
  World world;
  const size_t first = world.Do(World::PutOf("a", "1"));
  const size_t second = world.Do(World::PutOf("b", "2"));
  std::swap(world.history.operations[first].revision, world.history.operations[second].revision);
  CHECK(FoundByOrder(world) >= 2);
}

TEST_CASE("planted: the result of a transaction that was not") {
  World world;
  world.Do(World::PutOf("a", "1"));
  const size_t swap = world.Do(World::SwapOf("a", "7", "8"));
  Operation& operation = world.history.operations[swap];
  operation.response.Clear();
  operation.response.mutable_response_txn()->set_succeeded(true);
  operation.response.mutable_response_txn()->add_responses()->mutable_response_put();
  CHECK(FoundByOrder(world) >= 1);
  CHECK(FoundBySearch(world) == 1);
}

TEST_CASE("planted: an answer with another value, version or count") {
  for (int kind = 0; kind < 3; ++kind) {
    World world;
    world.Do(World::PutOf("a", "1"));
    const size_t read = world.Do(World::GetOf("a"));
    Operation* operation = &world.history.operations[read];
    if (kind == 0) OnlyKv(operation)->set_value("9");
    if (kind == 1) OnlyKv(operation)->set_version(2);
    if (kind == 2) operation->response.mutable_response_range()->set_count(2);
    CHECK(FoundByOrder(world) == 1);
  }
}

TEST_CASE("a write without an answer may have happened once, later, or not at all") {
  for (const bool happened : {false, true}) {
    World world;
    world.Do(World::PutOf("a", "1"));
    const size_t unknown = world.Begin(World::PutOf("a", "2"));
    if (happened) world.Commit(world.history.operations[unknown].request);
    world.Do(World::GetOf("a"));
    CHECK(FoundByOrder(world) == 0);
    CHECK(FoundBySearch(world) == 0);
    if (happened) {
      world.Commit(world.history.operations[unknown].request);
      CHECK(FoundByOrder(world) == 1);
    }
  }
}

TEST_CASE("planted: refused and yet applied; asked for by nobody") {
  World world;
  const size_t refused = world.Begin(World::PutOf("a", "1"));
  world.history.operations[refused].outcome = Operation::Outcome::kRefused;
  world.history.operations[refused].error_code = 3;
  CHECK(FoundByOrder(world) == 0);
  world.Commit(world.history.operations[refused].request);
  CHECK(FoundByOrder(world) == 1);
  world.Commit(World::PutOf("nobody", "2"));
  CHECK(FoundByOrder(world) == 2);
}

// Random concurrent histories: right ones pass, and those with one bent read do not.
TEST_CASE("random histories are judged alike by both") {
  Random random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    World world;
    std::vector<size_t> open;
    std::vector<size_t> reads;
    for (int i = 0; i < 60; ++i) {
      const std::string key(1, static_cast<char>('a' + random.Below(2)));
      const std::string value = StrCat("v", i);
      if (open.size() == 4 || (!open.empty() && random.OneIn(2))) {
        const size_t at = random.Below(open.size());
        if (random.OneIn(8)) {
          // No answer; it happens now, or never.
          if (random.OneIn(2) && !world.history.operations[open[at]].IsRead()) {
            world.Commit(world.history.operations[open[at]].request);
          }
        } else {
          world.End(open[at]);
          if (world.history.operations[open[at]].IsRead()) reads.push_back(open[at]);
        }
        open.erase(open.begin() + static_cast<ptrdiff_t>(at));
        continue;
      }
      switch (random.Below(4)) {
        case 0:
          open.push_back(world.Begin(World::GetOf(key)));
          break;
        case 1:
          open.push_back(world.Begin(World::PutOf(key, value)));
          break;
        case 2:
          open.push_back(world.Begin(World::SwapOf(key, StrCat("v", random.Below(60)), value)));
          break;
        default: {
          World::Request request = World::DeleteOf(key);
          request.mutable_delete_range()->set_range_end(StrCat(key, std::string(1, '\0'), i));
          open.push_back(world.Begin(std::move(request)));
        }
      }
    }
    REQUIRE(FoundByOrder(world) == 0);
    REQUIRE(FoundBySearch(world) == 0);
    if (reads.empty()) continue;
    Operation& bent = world.history.operations[reads[random.Below(reads.size())]];
    etcdserverpb::RangeResponse* answer = bent.response.mutable_response_range();
    answer->clear_kvs();
    answer->add_kvs()->set_key(bent.request.range().key());
    answer->mutable_kvs(0)->set_value("never written");
    REQUIRE(FoundByOrder(world) == 1);
    REQUIRE(FoundBySearch(world) == 1);
  }
}

}  // namespace
}  // namespace quorate::sim
