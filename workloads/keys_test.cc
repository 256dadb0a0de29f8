#include "workloads/keys.h"

#include <catch2/catch.hpp>

namespace quorate::workload {
namespace {

KeySpaceSpec Spec(int64_t count, int64_t groups, int64_t size = 0) {
  return {.name = "k", .prefix = "/a/", .count = count, .size = size, .groups = groups};
}

TEST_CASE("keys lie in the order of their numbers and read back") {
  const KeySpace space(
      GENERATE(Spec(1, 1), Spec(10, 1), Spec(1234, 7), Spec(100, 100), Spec(100, 10, 64)));
  std::string before;
  for (int64_t n = 0; n < space.count(); ++n) {
    const std::string key = space.Key(n);
    REQUIRE(key.size() == space.key_size());
    REQUIRE(key.starts_with("/a/"));
    REQUIRE(before < key);
    REQUIRE(space.NumberOf(key) == n);
    before = key;
  }
}

TEST_CASE("what is no key of the space has no number") {
  const KeySpace space(Spec(100, 10));
  CHECK(space.Key(57) == "/a/g5/57");
  for (const char* key : {"", "/a/", "/b/g5/57", "/a/g5/5", "/a/g4/57", "/a/x5/57", "/a/g5.57",
                          "/a/g5/5x", "/a/g5/577"}) {
    CAPTURE(key);
    CHECK(space.NumberOf(key) == -1);
  }
}

TEST_CASE("a scope is an interval of keys and one range on the wire") {
  const KeySpace space(Spec(95, 10));  // groups of 10, the last of 5
  std::string first;
  std::string end;
  const auto range = [&](Interval interval) {
    space.RangeOf(interval, &first, &end);
    return first + " " + end;
  };
  CHECK(range(space.Around(57, Scope::kKey, 1)) == "/a/g5/57 ");
  CHECK(space.Around(57, Scope::kGroup, 1) == Interval{50, 60});
  CHECK(range(space.Around(57, Scope::kGroup, 1)) == "/a/g5/ /a/g50");
  CHECK(space.Around(94, Scope::kGroup, 1) == Interval{90, 95});
  CHECK(range(space.Around(57, Scope::kSlice, 20)) == "/a/g5/57 /a/g7/77");
  CHECK(space.Around(90, Scope::kSlice, 20) == Interval{90, 95});
  CHECK(range(space.Around(91, Scope::kSlice, 20)) == "/a/g9/91 /a0");
  CHECK(range(space.Around(3, Scope::kAll, 1)) == "/a/ /a0");
}

TEST_CASE("watch i gets the i-th interval, around the row again") {
  const KeySpace space(Spec(95, 10));
  CHECK(space.Nth(3, Scope::kKey, 1) == Interval{3, 4});
  CHECK(space.Nth(95, Scope::kKey, 1) == Interval{0, 1});
  CHECK(space.Nth(2, Scope::kSlice, 30) == Interval{60, 90});
  CHECK(space.Nth(3, Scope::kSlice, 30) == Interval{90, 95});
  CHECK(space.Nth(4, Scope::kSlice, 30) == Interval{0, 30});
  CHECK(space.Nth(9, Scope::kGroup, 1) == Interval{90, 95});
  CHECK(space.Nth(7, Scope::kAll, 1) == Interval{0, 95});
}

TEST_CASE("the end of a prefix") {
  CHECK(PrefixEnd("a") == "b");
  CHECK(PrefixEnd("a\xff") == "b");
  CHECK(PrefixEnd("\xff\xff") == std::string(1, '\0'));
}

}  // namespace
}  // namespace quorate::workload
