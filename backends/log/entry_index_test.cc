#include "backends/log/entry_index.h"

#include <catch2/catch.hpp>
#include <map>

#include "base/random.h"
#include "base/test_seed.h"

namespace quorate::log {
namespace {

TEST_CASE("the index of entries answers as a plain map would", "[log]") {
  Random random(TestSeed());
  EntryIndex index;
  index.Reset(LogIndex(5), Term(2));
  std::map<uint64_t, EntryPlace> model;
  uint64_t first = 5;
  Term before(2);
  uint64_t term = 2;
  uint64_t segment = 1;
  for (int step = 0; step < 5000; ++step) {
    const uint64_t last = first + model.size() - 1;
    if (random.OneIn(10)) ++term;
    if (random.OneIn(7)) ++segment;
    if (random.OneIn(12) && !model.empty()) {
      const uint64_t through = first + random.Below(model.size());
      index.DropThrough(LogIndex(through));
      before = model.at(through).term;
      model.erase(model.begin(), model.upper_bound(through));
      first = through + 1;
    } else {
      const uint64_t at = random.OneIn(6) ? first + random.Below(last - first + 2) : last + 1;
      const EntryPlace place{Term(term), segment, 8 * random.Below(1 << 20),
                             static_cast<uint32_t>(random.Below(1000))};
      index.Put(LogIndex(at), place);
      model.erase(model.lower_bound(at), model.end());
      model[at] = place;
    }
    REQUIRE(index.first().value() == first);
    REQUIRE(index.last().value() == first + model.size() - 1);
    REQUIRE(index.TermAt(LogIndex(first - 1)) == before);
    REQUIRE_FALSE(index.TermAt(LogIndex(first + model.size())));
    if (model.empty()) continue;
    const uint64_t looked = first + random.Below(model.size());
    const EntryPlace found = index.At(LogIndex(looked));
    const EntryPlace& expected = model.at(looked);
    REQUIRE(found.term == expected.term);
    REQUIRE(found.segment == expected.segment);
    REQUIRE(found.offset == expected.offset);
    REQUIRE(found.length == expected.length);
  }
}

TEST_CASE("an entry before the first leaves nothing behind it", "[log]") {
  EntryIndex index;
  index.Reset(LogIndex(10), Term(3));
  index.Put(LogIndex(10), {Term(3), 1, 4096, 5});
  index.PutBeforeFirst(LogIndex(8), Term(4));
  REQUIRE(index.last() == LogIndex(9));
  REQUIRE(index.term_before_first() == Term(3));
  index.PutBeforeFirst(LogIndex(9), Term(5));
  REQUIRE(index.TermAt(LogIndex(9)) == Term(5));
  REQUIRE_FALSE(index.TermAt(LogIndex(10)));
}

}  // namespace
}  // namespace quorate::log
