#include "server/version_monitor.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

TEST_CASE("the cluster's version is the lowest of its members', and is never lowered") {
  CHECK(LowestVersion({"3.7.1", "3.6.11", "3.10.0"}) == "3.6.0");
  CHECK(LowestVersion({"3.7.1", std::nullopt}) == std::nullopt);
  CHECK(LowestVersion({"3.7.1", "not a version"}) == std::nullopt);
  CHECK(DecideVersion("", "3.7.0") == "3.7.0");
  CHECK(DecideVersion("", std::nullopt) == "3.0.0");
  CHECK(DecideVersion("3.0.0", "3.7.0") == "3.7.0");
  CHECK(DecideVersion("3.0.0", std::nullopt) == std::nullopt);
  CHECK(DecideVersion("3.7.0", "3.7.0") == std::nullopt);
  CHECK(DecideVersion("3.7.0", "3.6.0") == std::nullopt);
}

}  // namespace
}  // namespace quorate::server
