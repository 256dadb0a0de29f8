#include "server/version_monitor.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

TEST_CASE("the cluster's version is the lowest of its members', and is never lowered") {
  CHECK(LowestVersion({"3.7.1", "3.6.11", "3.10.0"}) == "3.6.0");
  CHECK(LowestVersion({"3.7.1", std::nullopt}) == std::nullopt);
  CHECK(LowestVersion({"3.7.1", "not a version"}) == std::nullopt);
  CHECK(DecideVersion("", "3.7.0", {}) == "3.7.0");
  CHECK(DecideVersion("", std::nullopt, {}) == "3.0.0");
  CHECK(DecideVersion("3.0.0", "3.7.0", {}) == "3.7.0");
  CHECK(DecideVersion("3.0.0", std::nullopt, {}) == std::nullopt);
  CHECK(DecideVersion("3.7.0", "3.7.0", {}) == std::nullopt);
  CHECK(DecideVersion("3.7.0", "3.6.0", {}) == std::nullopt);
}

TEST_CASE("a downgrade lowers the cluster's version by one step, and is over when all run it") {
  const engine::DowngradeInfo to{true, "3.6.0"};
  CHECK(DecideVersion("3.7.0", "3.7.0", to) == "3.6.0");
  CHECK(DecideVersion("3.6.0", "3.7.0", to) == std::nullopt);  // that step is done
  CHECK(DecideVersion("3.6.0", "3.7.0", {}) == "3.7.0");       // it was cancelled
  CHECK(DecideVersion("3.8.0", "3.8.0", to) == std::nullopt);
  CHECK(AllRun({"3.6.1", "3.6.9"}, "3.6.0"));
  CHECK_FALSE(AllRun({"3.6.1", "3.7.1"}, "3.6.0"));
  CHECK_FALSE(AllRun({"3.6.1", std::nullopt}, "3.6.0"));
}

TEST_CASE("a downgrade's target is a version of two or three numbers") {
  for (const char* good : {"3.6", "3.6.0", "3.6.9", "3.6.0-rc.1", "3.6.0+x"}) {
    INFO(good);
    CHECK(ParseTargetVersion(good) == "3.6.0");
  }
  for (const char* bad : {"", "3", "x", "v3.6", "3.6.", "3.6.x", "-3.6", "3.6 ", "3.6-rc"}) {
    INFO(bad);
    CHECK(ParseTargetVersion(bad) == std::nullopt);
  }
  CHECK(VersionBefore("3.7.0") == "3.6.0");
  CHECK(StorageVersion("") == "3.7.0");
  CHECK(StorageVersion("3.6.0") == "3.6.0");
  CHECK(StorageVersion("3.8.0") == "3.7.0");
}

}  // namespace
}  // namespace quorate::server
