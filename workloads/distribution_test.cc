#include "workloads/distribution.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "base/test_seed.h"

namespace quorate::workload {
namespace {

OperationSpec Spec(Distribution distribution) {
  OperationSpec spec;
  spec.distribution = distribution;
  return spec;
}

std::vector<int64_t> DrawMany(const KeyChooser& chooser, int64_t count, uint64_t seed, int draws) {
  Random random(seed);
  std::vector<int64_t> hits(static_cast<size_t>(count));
  for (int i = 0; i < draws; ++i) ++hits.at(static_cast<size_t>(chooser.Choose(random)));
  return hits;
}

TEST_CASE("zipf draws each rank in proportion to rank^-theta") {
  const double theta = GENERATE(0.5, 0.99, 1.0, 1.5);
  constexpr int64_t kRanks = 1000;
  constexpr int kDraws = 400'000;
  const Zipf zipf(kRanks, theta);
  Random random(TestSeed());
  std::vector<int> hits(kRanks + 1);
  for (int i = 0; i < kDraws; ++i) {
    const int64_t rank = zipf.Draw(random);
    REQUIRE(rank >= 1);
    REQUIRE(rank <= kRanks);
    ++hits[static_cast<size_t>(rank)];
  }
  double sum = 0;
  for (int rank = 1; rank <= kRanks; ++rank) sum += std::pow(rank, -theta);
  for (const int rank : {1, 2, 3, 10, 100}) {
    const double expected = kDraws * std::pow(rank, -theta) / sum;
    CAPTURE(theta, rank, expected);
    CHECK(std::fabs(hits[static_cast<size_t>(rank)] - expected) < 6 * std::sqrt(expected) + 1);
  }
}

TEST_CASE("zipf of one key and of exponent 0") {
  Random random(TestSeed());
  CHECK(Zipf(1, 0.99).Draw(random) == 1);
  const Zipf even(4, 0);
  std::vector<int> hits(5);
  for (int i = 0; i < 40'000; ++i) ++hits[static_cast<size_t>(even.Draw(random))];
  for (int rank = 1; rank <= 4; ++rank) CHECK(std::abs(hits[rank] - 10'000) < 600);
}

TEST_CASE("scatter visits each place once and tears neighbours apart") {
  const int64_t count = GENERATE(1, 2, 3, 10, 1000, 65'536, 99'991);
  const Scatter scatter(count);
  std::vector<bool> seen(static_cast<size_t>(count));
  for (int64_t rank = 0; rank < count; ++rank) {
    const int64_t place = scatter.Map(rank);
    REQUIRE(place >= 0);
    REQUIRE(place < count);
    REQUIRE(!seen[static_cast<size_t>(place)]);
    seen[static_cast<size_t>(place)] = true;
  }
  if (count >= 1000) CHECK(std::llabs(scatter.Map(0) - scatter.Map(1)) > count / 10);
}

TEST_CASE("a hot set gets its share") {
  OperationSpec spec = Spec(Distribution::kHot);
  spec.hot_fraction = 0.05;
  spec.hot_share = 0.8;
  auto hits = DrawMany(KeyChooser(spec, 1000, nullptr), 1000, TestSeed(), 200'000);
  std::sort(hits.rbegin(), hits.rend());
  int64_t hot = 0;
  for (int i = 0; i < 50; ++i) hot += hits[static_cast<size_t>(i)];
  CHECK(std::llabs(hot - 160'000) < 2'000);
  CHECK(hits[999] > 0);  // the others are not left out
}

TEST_CASE("uniform is even, sequential counts and wraps around") {
  for (const int64_t n :
       DrawMany(KeyChooser(Spec(Distribution::kUniform), 10, nullptr), 10, TestSeed(), 100'000)) {
    CHECK(std::llabs(n - 10'000) < 600);
  }
  std::atomic<uint64_t> next = 0;
  const KeyChooser first(Spec(Distribution::kSequential), 3, &next);
  const KeyChooser second(Spec(Distribution::kSequential), 3, &next);
  Random random(1);
  CHECK(first.Choose(random) == 0);
  CHECK(second.Choose(random) == 1);
  CHECK(first.Choose(random) == 2);
  CHECK(second.Choose(random) == 0);
}

TEST_CASE("equal seeds draw equal keys, different seeds do not") {
  const KeyChooser chooser(
      Spec(GENERATE(Distribution::kUniform, Distribution::kZipf, Distribution::kHot)), 10'000,
      nullptr);
  const auto a = DrawMany(chooser, 10'000, 7, 1000);
  CHECK(a == DrawMany(chooser, 10'000, 7, 1000));
  CHECK(a != DrawMany(chooser, 10'000, 8, 1000));
}

}  // namespace
}  // namespace quorate::workload
