#include "proxy/range_cache.h"

#include <catch2/catch.hpp>

namespace quorate::proxy {
namespace {

etcdserverpb::RangeRequest Read(std::string key, std::string end = "", int64_t revision = 0) {
  etcdserverpb::RangeRequest request;
  request.set_key(std::move(key));
  request.set_range_end(std::move(end));
  request.set_revision(revision);
  return request;
}

const std::string kNoEnd(1, '\0');

TEST_CASE("a serializable read finds the answer to the linearizable one") {
  RangeCache cache;
  cache.Add(Read("a"), 5, Bytes::Static("one"));
  auto request = Read("a");
  request.set_serializable(true);
  REQUIRE(cache.Find(request)->view() == "one");
  request.set_limit(1);
  REQUIRE_FALSE(cache.Find(request).has_value());
}

TEST_CASE("a write forgets the ranges that it meets and no other") {
  RangeCache cache;
  const auto fill = [&] {
    for (const auto& request : {Read("a"), Read("b"), Read("a", "c"), Read("b", kNoEnd),
                                Read("c", "d"), Read("a", "", 3)}) {
      cache.Add(request, 5, Bytes::Static("x"));
    }
  };
  fill();
  cache.Forget("b", "");
  REQUIRE(cache.size() == 3);  // "a", ["c", "d") and the read at a revision
  REQUIRE(cache.Find(Read("a")).has_value());
  REQUIRE(cache.Find(Read("c", "d")).has_value());
  REQUIRE(cache.Find(Read("a", "", 3)).has_value());
  fill();
  cache.Forget("bb", kNoEnd);
  REQUIRE_FALSE(cache.Find(Read("a", "c")).has_value());
  REQUIRE(cache.Find(Read("b")).has_value());
  cache.Clear();
  REQUIRE(cache.size() == 0);
}

TEST_CASE("an answer from before a known write does not come in") {
  RangeCache cache;
  cache.Wrote(8);
  cache.Add(Read("a"), 7, Bytes::Static("old"));
  REQUIRE(cache.size() == 0);
  cache.Add(Read("a"), 8, Bytes::Static("new"));
  REQUIRE(cache.size() == 1);
}

TEST_CASE("compaction ends reads below it") {
  RangeCache cache;
  cache.Add(Read("a", "", 3), 9, Bytes::Static("x"));
  cache.Add(Read("a", "", 6), 9, Bytes::Static("y"));
  cache.Compacted(5);
  REQUIRE(cache.IsCompacted(3));
  REQUIRE_FALSE(cache.IsCompacted(5));
  REQUIRE_FALSE(cache.IsCompacted(0));
  REQUIRE(cache.size() == 1);
}

TEST_CASE("the entry used longest ago goes first") {
  RangeCache cache;
  for (size_t i = 0; i < RangeCache::kEntriesMax; ++i) {
    cache.Add(Read(std::to_string(i)), 5, Bytes::Static("x"));
  }
  REQUIRE(cache.Find(Read("0")).has_value());
  cache.Add(Read("more"), 5, Bytes::Static("x"));
  REQUIRE(cache.size() == RangeCache::kEntriesMax);
  REQUIRE(cache.Find(Read("0")).has_value());
  REQUIRE_FALSE(cache.Find(Read("1")).has_value());
}

TEST_CASE("ranges meet where a key is in both") {
  REQUIRE(RangesMeet("a", "", "a", ""));
  REQUIRE_FALSE(RangesMeet("a", "", "b", ""));
  REQUIRE(RangesMeet("a", "c", "b", ""));
  REQUIRE_FALSE(RangesMeet("a", "b", "b", ""));
  REQUIRE(RangesMeet("b", "d", "a", kNoEnd));
  REQUIRE_FALSE(RangesMeet("b", "d", "d", kNoEnd));
}

}  // namespace
}  // namespace quorate::proxy
