// Histogram: counts of durations (nanoseconds) in log-linear buckets with a relative error of at
// most 1/64, from 1 ns to about 1 hour; larger values land in the last bucket. The same buckets
// everywhere, so histograms merge across threads, runs and result files.
// Not thread-safe; ConcurrentHistogram is (relaxed atomic counters, one writer or many).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace quorate {

class Histogram {
 public:
  static constexpr int kSubBits = 6;  // 64 linear buckets per power of two
  static constexpr int kMaxExponent = 42;
  static constexpr size_t kBuckets = size_t{kMaxExponent - kSubBits + 2} << kSubBits;

  static size_t BucketOf(int64_t value_ns);
  static int64_t BucketLowNs(size_t bucket);   // smallest value that lands in it
  static int64_t BucketHighNs(size_t bucket);  // largest

  Histogram() : counts_(kBuckets) {}
  void Add(int64_t value_ns, uint64_t times = 1);
  void Merge(const Histogram& other);
  void Clear();

  uint64_t count() const { return count_; }
  int64_t min_ns() const { return count_ == 0 ? 0 : min_ns_; }
  int64_t max_ns() const { return max_ns_; }
  double mean_ns() const { return count_ == 0 ? 0 : static_cast<double>(sum_ns_) / count_; }
  int64_t sum_ns() const { return sum_ns_; }
  // The value below which `quantile` (0..1) of the counts lie: the upper end of its bucket.
  int64_t QuantileNs(double quantile) const;
  // Non-empty buckets as (low_ns, count), for raw result files.
  std::vector<std::pair<int64_t, uint64_t>> NonEmpty() const;
  // How many values were <= limit_ns (to bucket precision), for Prometheus buckets.
  uint64_t CountAtMostNs(int64_t limit_ns) const;

 private:
  friend class ConcurrentHistogram;
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t sum_ns_ = 0;
  int64_t min_ns_ = 0;
  int64_t max_ns_ = 0;
};

class ConcurrentHistogram {
 public:
  void Add(int64_t value_ns);  // any thread
  Histogram Snapshot() const;  // any thread; not a single instant across buckets

 private:
  std::array<std::atomic<uint64_t>, Histogram::kBuckets> counts_{};
  std::atomic<int64_t> sum_ns_{0};
  std::atomic<int64_t> max_ns_{0};
  std::atomic<int64_t> min_ns_{INT64_MAX};
};

}  // namespace quorate
