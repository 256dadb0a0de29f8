#include "server/batch_pacer.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kPaceNs = 2 * kMs;

TEST_CASE("who writes alone never waits, however fast") {
  BatchPacer pacer(kPaceNs);
  for (int64_t now_ns = kMs; now_ns < 200 * kMs; now_ns += kMs / 10) {
    pacer.Saw(1, now_ns);
    REQUIRE(pacer.Due(1, now_ns));
    pacer.Left(now_ns);
    CHECK_FALSE(pacer.Crowded());
  }
}

TEST_CASE("what comes while others are under way waits for the pace, and not longer") {
  BatchPacer pacer(kPaceNs);
  const int64_t begin_ns = kMs;
  pacer.Saw(1, begin_ns);
  REQUIRE(pacer.Due(1, begin_ns));
  pacer.Left(begin_ns);
  pacer.Saw(3, begin_ns + kMs / 2);  // that one and two that wait
  CHECK_FALSE(pacer.Due(2, begin_ns + kMs / 2));
  CHECK(pacer.Crowded());
  CHECK(pacer.next_ns() == begin_ns + kPaceNs);
  CHECK(pacer.Due(2, begin_ns + kPaceNs));
}

TEST_CASE("nobody waits for more company than there was lately") {
  BatchPacer pacer(kPaceNs);
  pacer.Saw(3, kMs);
  pacer.Left(kMs);
  CHECK_FALSE(pacer.Due(2, kMs + 1));
  CHECK(pacer.Due(3, kMs + 1));
}

TEST_CASE("a large batch goes at once, however many there were") {
  BatchPacer pacer(kPaceNs);
  pacer.Saw(1000, kMs);
  pacer.Left(kMs);
  CHECK_FALSE(pacer.Due(10, kMs + 1));
  CHECK(pacer.Due(64, kMs + 1));
}

TEST_CASE("a crowd is forgotten when it has gone, at once after a long silence") {
  BatchPacer pacer(kPaceNs);
  pacer.Saw(20, kMs);
  int64_t now_ns = kMs;
  for (; now_ns < 100 * kMs; now_ns += kMs) pacer.Saw(1, now_ns);
  CHECK_FALSE(pacer.Crowded());
  pacer.Saw(20, now_ns);
  CHECK(pacer.Crowded());
  pacer.Saw(1, now_ns + 1000 * kMs);
  CHECK_FALSE(pacer.Crowded());
}

TEST_CASE("a pace of nothing holds nobody up") {
  BatchPacer pacer(0);
  for (int i = 0; i < 3; ++i) {
    pacer.Saw(50, kMs);
    CHECK(pacer.Due(1, kMs));
    pacer.Left(kMs);
    CHECK_FALSE(pacer.Crowded());
  }
}

}  // namespace
}  // namespace quorate::server
