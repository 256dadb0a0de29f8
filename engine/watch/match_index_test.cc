#include "engine/watch/match_index.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <vector>

#include "base/random.h"

namespace quorate::engine {
namespace {

struct Number {
  int value = 0;
};
using Index = MatchIndex<Number>;

std::vector<int> Hits(Index* index, std::string_view key) {
  std::vector<int> hits;
  index->Match(key, [&](Index::Target& target) { hits.push_back(target.payload.value); });
  return hits;
}

TEST_CASE("match index: single keys, ranges and from-key") {
  Index index;
  index.Add("b", "")->payload.value = 1;
  index.Add("b", "d")->payload.value = 2;
  index.Add("c", kFromKeyEnd)->payload.value = 3;
  CHECK(index.size() == 3);
  CHECK(Hits(&index, "a").empty());
  CHECK(Hits(&index, "b") == std::vector<int>{1, 2});
  CHECK(Hits(&index, "bb") == std::vector<int>{2});
  CHECK(Hits(&index, "c") == std::vector<int>{2, 3});
  CHECK(Hits(&index, "d") == std::vector<int>{3});
  CHECK(Hits(&index, "\xff\xff") == std::vector<int>{3});
  CHECK(index.Add("b", "d")->payload.value == 2);  // equal intervals are one target
  index.Remove(index.Add("b", "d"));
  index.Remove(index.Add("b", ""));
  CHECK(index.size() == 1);
  CHECK(Hits(&index, "b").empty());
  CHECK(Hits(&index, "c") == std::vector<int>{3});
}

TEST_CASE("match index: random intervals equal a scan of all of them") {
  const char* from_env = std::getenv("QUORATE_SEED");
  const uint64_t seed = from_env != nullptr ? std::strtoull(from_env, nullptr, 10) : 7;
  INFO("QUORATE_SEED=" << seed);
  Random random(seed);
  const auto text = [&] {
    std::string s;
    for (uint64_t i = 0, n = random.Between(1, 3); i < n; ++i) {
      s.push_back(static_cast<char>('a' + random.Below(5)));
    }
    return s;
  };
  Index index;
  std::map<std::pair<std::string, std::string>, Index::Target*> model;
  int next = 0;
  for (int step = 0; step < 20'000; ++step) {
    std::string begin = text(), end;
    if (random.OneIn(3)) end = kFromKeyEnd;
    if (random.OneIn(2)) end = text();
    if (!end.empty() && end != kFromKeyEnd && end <= begin) std::swap(begin, end);
    if (begin == end) end += "a";
    const auto found = model.find({begin, end});
    if (found != model.end()) {
      REQUIRE(index.Add(begin, end) == found->second);
      index.Remove(found->second);
      model.erase(found);
    } else if (model.size() < 60 || random.OneIn(4)) {
      Index::Target* target = index.Add(begin, end);
      target->payload.value = ++next;
      model[{begin, end}] = target;
    }
    REQUIRE(index.size() == model.size());
    const std::string key = text();
    std::vector<int> single, ranges;
    for (const auto& [interval, target] : model) {
      const auto& [low, high] = interval;
      const bool inside =
          high.empty() ? key == low : low <= key && (high == kFromKeyEnd || key < high);
      if (inside) (high.empty() ? single : ranges).push_back(target->payload.value);
    }
    single.insert(single.end(), ranges.begin(), ranges.end());
    REQUIRE(Hits(&index, key) == single);
  }
}

}  // namespace
}  // namespace quorate::engine
