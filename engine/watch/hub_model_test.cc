// The hub over the fake store, see hub_world.h.
#include <catch2/catch.hpp>

#include "engine/watch/hub_world.h"

namespace quorate::engine {
namespace {

using watch_test::BaseSeed;
using FakeWorld = watch_test::World<watch_test::FakeStore>;

TEST_CASE("watch: random histories give each watch exactly the model's events") {
  uint64_t events = 0, cancels = 0, progress = 0, jobs = 0;
  for (uint64_t seed = BaseSeed(); seed < BaseSeed() + 20; ++seed) {
    INFO("QUORATE_SEED=" << seed);
    FakeWorld world(seed);
    for (int step = 0; step < 2500; ++step) world.Step();
    world.Settle();
    events += world.events_seen();
    cancels += world.compaction_cancels();
    progress += world.progress_seen();
    jobs += world.catch_up_jobs();
  }
  INFO("events " << events << " cancels " << cancels << " progress " << progress << " jobs "
                 << jobs);
  CHECK(events > 20'000);  // the histories reach what they are for
  CHECK(cancels > 20);
  CHECK(progress > 100);
  CHECK(jobs > 1'000);
}

TEST_CASE("watch: equal seeds give equal messages") {
  const auto run = [](uint64_t seed) {
    FakeWorld world(seed);
    for (int step = 0; step < 1500; ++step) world.Step();
    world.Settle();
    return world.fingerprint();
  };
  INFO("QUORATE_SEED=" << BaseSeed());
  CHECK(run(BaseSeed()) == run(BaseSeed()));
  CHECK(run(BaseSeed()) != run(BaseSeed() + 1));
}

}  // namespace
}  // namespace quorate::engine
