#include "base/histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <thread>

#include "base/random.h"
#include "base/test_seed.h"

namespace quorate {
namespace {

constexpr int64_t kHourNs = int64_t{3600} * 1'000'000'000;

TEST_CASE("Buckets follow each other without gap and are at most 1/64 wide") {
  REQUIRE(Histogram::BucketLowNs(0) == 0);
  for (size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    const int64_t low = Histogram::BucketLowNs(i);
    const int64_t high = Histogram::BucketHighNs(i);
    REQUIRE(Histogram::BucketOf(low) == i);
    REQUIRE(Histogram::BucketOf(high) == i);
    REQUIRE(Histogram::BucketLowNs(i + 1) == high + 1);
    REQUIRE((high - low) * 64 <= low);
  }
  REQUIRE(Histogram::BucketLowNs(Histogram::kBuckets - 1) > kHourNs);
  REQUIRE(Histogram::BucketOf(INT64_MAX) == Histogram::kBuckets - 1);
  REQUIRE(Histogram::BucketHighNs(Histogram::kBuckets - 1) == INT64_MAX);
  REQUIRE(Histogram::BucketOf(-1) == 0);
}

TEST_CASE("A quantile of values of all magnitudes is at most 1/64 above the exact one") {
  Random random(TestSeed());
  Histogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<int64_t>(std::exp(random.Unit() * std::log(kHourNs)));
    values.push_back(value);
    histogram.Add(value);
  }
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    INFO(quantile);
    const auto rank = static_cast<size_t>(std::ceil(quantile * static_cast<double>(values.size())));
    const int64_t exact = values[std::max<size_t>(rank, 1) - 1];
    REQUIRE(histogram.QuantileNs(quantile) >= exact);
    REQUIRE((histogram.QuantileNs(quantile) - exact) * 64 <= exact);
  }
  REQUIRE(histogram.min_ns() == values.front());
  REQUIRE(histogram.max_ns() == values.back());
  REQUIRE(histogram.QuantileNs(1) == values.back());
}

TEST_CASE("Counts, sum, mean and extremes are exact") {
  Histogram histogram;
  REQUIRE(histogram.count() == 0);
  REQUIRE(histogram.QuantileNs(0.5) == 0);
  REQUIRE(histogram.mean_ns() == 0);
  histogram.Add(100);
  histogram.Add(300, 3);
  histogram.Add(7, 0);
  REQUIRE(histogram.count() == 4);
  REQUIRE(histogram.sum_ns() == 1000);
  REQUIRE(histogram.mean_ns() == 250);
  REQUIRE(histogram.min_ns() == 100);
  REQUIRE(histogram.max_ns() == 300);
  REQUIRE(histogram.CountAtMostNs(99) == 0);
  REQUIRE(histogram.CountAtMostNs(100) == 1);
  REQUIRE(histogram.CountAtMostNs(kHourNs) == 4);
  REQUIRE(histogram.CountAtMostNs(-1) == 0);
  const auto buckets = histogram.NonEmpty();
  REQUIRE(buckets.size() == 2);
  REQUIRE(buckets[0] == std::pair<int64_t, uint64_t>{100, 1});
  REQUIRE(buckets[1].second == 3);
  histogram.Clear();
  REQUIRE(histogram.count() == 0);
  REQUIRE(histogram.NonEmpty().empty());
  REQUIRE(histogram.max_ns() == 0);
}

TEST_CASE("What lies outside lands in the first or last bucket and does not overflow") {
  Histogram histogram;
  histogram.Add(-5);
  histogram.Add(INT64_MAX, 3);
  REQUIRE(histogram.min_ns() == 0);
  REQUIRE(histogram.max_ns() == INT64_MAX);
  REQUIRE(histogram.sum_ns() == INT64_MAX);
  REQUIRE(histogram.QuantileNs(1) == INT64_MAX);
}

TEST_CASE("Merged histograms equal one that saw everything") {
  Random random(TestSeed());
  Histogram parts[3];
  Histogram whole;
  for (int i = 0; i < 3000; ++i) {
    const auto value = static_cast<int64_t>(random.Below(1'000'000)) + 50;
    parts[random.Below(3)].Add(value);
    whole.Add(value);
  }
  Histogram merged;
  for (const Histogram& part : parts) merged.Merge(part);
  merged.Merge(Histogram());
  REQUIRE(merged.NonEmpty() == whole.NonEmpty());
  REQUIRE(merged.count() == whole.count());
  REQUIRE(merged.sum_ns() == whole.sum_ns());
  REQUIRE(merged.min_ns() == whole.min_ns());
  REQUIRE(merged.max_ns() == whole.max_ns());
}

TEST_CASE("A concurrent histogram loses nothing") {
  ConcurrentHistogram histogram;
  REQUIRE(histogram.Snapshot().count() == 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 1; i <= 10'000; ++i) histogram.Add(i * 10 + t);
    });
  }
  // Reading meanwhile is allowed and never shows more than was added.
  REQUIRE(histogram.Snapshot().count() <= 40'000);
  for (std::thread& thread : threads) thread.join();
  const Histogram snapshot = histogram.Snapshot();
  REQUIRE(snapshot.count() == 40'000);
  REQUIRE(snapshot.min_ns() == 10);
  REQUIRE(snapshot.max_ns() == 100'003);
  REQUIRE(snapshot.sum_ns() == int64_t{4} * 10 * (10'000 * 10'001 / 2) + (1 + 2 + 3) * 10'000);
}

}  // namespace
}  // namespace quorate
