#include "server/auto_compactor.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/clock.h"
#include "engine/errors.h"

namespace quorate::server {
namespace {

using Mode = AutoCompaction::Mode;
using Role = AutoCompactor::Role;

constexpr int64_t kMinuteNs = 60 * kNanosPerSecond;
constexpr int64_t kHourNs = 60 * kMinuteNs;

// What is compacted when, in minutes, while `writes_per_minute` revisions come up.
struct Compaction {
  int64_t minute;
  int64_t revision;
  bool operator==(const Compaction&) const = default;
};

class World {
 public:
  explicit World(const AutoCompaction& options) : compactor_(options) {}

  std::vector<Compaction> Run(int64_t minutes, int64_t writes_per_minute) {
    std::vector<Compaction> done;
    for (const int64_t end = minute_ + minutes; minute_ < end; ++minute_) {
      if (const auto wanted = compactor_.Look(minute_ * kMinuteNs, revision, role)) {
        done.push_back({minute_, *wanted});
        compactor_.Done(outcome);
        compactor_.Look(minute_ * kMinuteNs, revision, role);
      }
      revision += writes_per_minute;
    }
    return done;
  }

  int64_t revision = 1;
  Role role = Role::kLeads;
  engine::Error outcome;

 private:
  AutoCompactor compactor_;
  int64_t minute_ = 0;
};

TEST_CASE("periodic: nothing for a whole period, then each hour what is older than the period") {
  World world({Mode::kPeriodic, 5 * kHourNs});
  const std::vector<Compaction> done = world.Run(7 * 60 + 1, 10);
  REQUIRE(done.size() == 3);
  // Looked at every six minutes, before that look's own sample is taken: what is kept reaches back
  // one look further than the period.
  CHECK(done[0] == Compaction{300, 1});
  CHECK(done[1] == Compaction{360, 1 + 54 * 10});
  CHECK(done[2] == Compaction{420, 1 + 114 * 10});
}

TEST_CASE("periodic: a period below an hour compacts once a period") {
  World world({Mode::kPeriodic, 10 * kMinuteNs});
  const std::vector<Compaction> done = world.Run(31, 1);
  REQUIRE(done.size() == 3);
  CHECK(done[0] == Compaction{10, 1});
  CHECK(done[1] == Compaction{20, 10});
  CHECK(done[2] == Compaction{30, 20});
}

TEST_CASE("periodic: a revision that did not move is not compacted again") {
  World world({Mode::kPeriodic, 10 * kMinuteNs});
  CHECK(world.Run(100, 0).size() == 1);
}

TEST_CASE("periodic: a failed compaction is tried again at the next look, a tenth of the period") {
  World world({Mode::kPeriodic, 10 * kMinuteNs});
  world.outcome = engine::errors::kTimeout;
  const std::vector<Compaction> failed = world.Run(14, 1);
  REQUIRE(failed.size() == 4);
  CHECK(failed[1].minute == failed[0].minute + 1);
  world.outcome = {};
  CHECK(world.Run(9, 1).size() == 1);
}

TEST_CASE("what somebody else compacted meanwhile counts as done") {
  World world({Mode::kPeriodic, 10 * kMinuteNs});
  world.outcome = engine::errors::kCompacted;
  CHECK(world.Run(20, 1).size() == 1);
}

TEST_CASE("a member that follows compacts nothing, and knows the past once it leads") {
  World world({Mode::kPeriodic, 10 * kMinuteNs});
  world.role = Role::kFollows;
  CHECK(world.Run(35, 1).empty());
  world.role = Role::kLeads;
  const std::vector<Compaction> done = world.Run(2, 1);
  REQUIRE(done.size() == 1);
  CHECK(done[0] == Compaction{35, 25});
}

TEST_CASE("revision: every five minutes all but the last so many") {
  World world({Mode::kRevision, 100});
  const std::vector<Compaction> done = world.Run(21, 10);
  REQUIRE(done.size() == 3);
  CHECK(done[0] == Compaction{10, 1});
  CHECK(done[1] == Compaction{15, 51});
  CHECK(done[2] == Compaction{20, 101});
  CHECK(world.Run(20, 0).size() == 1);  // for what came up since, and not again
}

TEST_CASE("nothing is asked for while a compaction is under way") {
  AutoCompactor compactor({Mode::kRevision, 1});
  CHECK_FALSE(compactor.Look(0, 10, Role::kLeads));
  CHECK(compactor.Look(5 * kMinuteNs, 10, Role::kLeads) == 9);
  CHECK_FALSE(compactor.Look(10 * kMinuteNs, 20, Role::kLeads));
  CHECK_FALSE(compactor.Look(15 * kMinuteNs, 20, Role::kLeads));
}

TEST_CASE("the retention is a number of hours or revisions, or a duration") {
  CHECK(ParseAutoCompaction("periodic", "2")->retention == 2 * kHourNs);
  CHECK(ParseAutoCompaction("periodic", "90s")->retention == 90 * kNanosPerSecond);
  CHECK(ParseAutoCompaction("revision", "1000")->retention == 1000);
  CHECK(ParseAutoCompaction("revision", "1us")->retention == 1000);  // etcd's reading of it
  CHECK(ParseAutoCompaction("periodic", "0")->retention == 0);
  CHECK(ParseAutoCompaction("", "1").status().message() == "undefined auto-compaction-mode");
  for (const char* bad : {"", "soon", "-1", "-5m", "99999999999999"}) {
    INFO(bad);
    CHECK_FALSE(ParseAutoCompaction("periodic", bad).ok());
  }
  CHECK_FALSE(ParseAutoCompaction("weekly", "1").ok());
}

}  // namespace
}  // namespace quorate::server
