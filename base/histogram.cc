// Buckets: value v below 2 * 64 has a bucket of its own; above, the top seven bits of v choose it,
// so a bucket is at most 1/64 of its lower end wide.
#include "base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace quorate {
namespace {

constexpr int64_t kSubBuckets = int64_t{1} << Histogram::kSubBits;
constexpr int64_t kLimitNs = int64_t{1} << (Histogram::kMaxExponent + 1);  // first value too large

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t SaturatingTimes(int64_t value, uint64_t times) {
  int64_t product;
  return __builtin_mul_overflow(value, times, &product) ? INT64_MAX : product;
}

}  // namespace

size_t Histogram::BucketOf(int64_t value_ns) {
  if (value_ns < kSubBuckets) return value_ns < 0 ? 0 : static_cast<size_t>(value_ns);
  if (value_ns >= kLimitNs) return kBuckets - 1;
  const int shift = std::bit_width(static_cast<uint64_t>(value_ns)) - 1 - kSubBits;
  return (static_cast<size_t>(shift) << kSubBits) + static_cast<size_t>(value_ns >> shift);
}

int64_t Histogram::BucketLowNs(size_t bucket) {
  QR_CHECK(bucket < kBuckets);
  if (bucket < 2 * kSubBuckets) return static_cast<int64_t>(bucket);
  const size_t shift = (bucket >> kSubBits) - 1;
  const auto top = static_cast<int64_t>((bucket & (kSubBuckets - 1)) | kSubBuckets);
  return top << shift;
}

int64_t Histogram::BucketHighNs(size_t bucket) {
  QR_CHECK(bucket < kBuckets);
  return bucket == kBuckets - 1 ? INT64_MAX : BucketLowNs(bucket + 1) - 1;
}

void Histogram::Add(int64_t value_ns, uint64_t times) {
  if (times == 0) return;
  value_ns = std::max<int64_t>(value_ns, 0);
  counts_[BucketOf(value_ns)] += times;
  min_ns_ = count_ == 0 ? value_ns : std::min(min_ns_, value_ns);
  max_ns_ = std::max(max_ns_, value_ns);
  count_ += times;
  sum_ns_ = SaturatingAdd(sum_ns_, SaturatingTimes(value_ns, times));
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  min_ns_ = count_ == 0 ? other.min_ns_ : std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  count_ += other.count_;
  sum_ns_ = SaturatingAdd(sum_ns_, other.sum_ns_);
}

void Histogram::Clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = 0;
  sum_ns_ = 0;
  min_ns_ = 0;
  max_ns_ = 0;
}

int64_t Histogram::QuantileNs(double quantile) const {
  QR_CHECK(quantile >= 0 && quantile <= 1);
  if (count_ == 0) return 0;
  const double exact_rank = std::ceil(quantile * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(exact_rank), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(BucketHighNs(i), max_ns_);
  }
  return max_ns_;
}

std::vector<std::pair<int64_t, uint64_t>> Histogram::NonEmpty() const {
  std::vector<std::pair<int64_t, uint64_t>> result;
  for (size_t i = 0; i < kBuckets; ++i) {
    if (counts_[i] != 0) result.emplace_back(BucketLowNs(i), counts_[i]);
  }
  return result;
}

uint64_t Histogram::CountAtMostNs(int64_t limit_ns) const {
  if (limit_ns < 0) return 0;
  const size_t last = BucketOf(limit_ns);
  uint64_t total = 0;
  for (size_t i = 0; i <= last; ++i) total += counts_[i];
  return total;
}

void ConcurrentHistogram::Add(int64_t value_ns) {
  value_ns = std::max<int64_t>(value_ns, 0);
  counts_[Histogram::BucketOf(value_ns)].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(value_ns, std::memory_order_relaxed);
  // New extremes are rare: mostly these are two loads of a line that the sum has brought in anyway.
  int64_t seen = max_ns_.load(std::memory_order_relaxed);
  while (value_ns > seen &&
         !max_ns_.compare_exchange_weak(seen, value_ns, std::memory_order_relaxed)) {
  }
  seen = min_ns_.load(std::memory_order_relaxed);
  while (value_ns < seen &&
         !min_ns_.compare_exchange_weak(seen, value_ns, std::memory_order_relaxed)) {
  }
}

Histogram ConcurrentHistogram::Snapshot() const {
  Histogram result;
  size_t first = Histogram::kBuckets;
  size_t last = 0;
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    const uint64_t count = counts_[i].load(std::memory_order_relaxed);
    if (count == 0) continue;
    result.counts_[i] = count;
    result.count_ += count;
    first = std::min(first, i);
    last = i;
  }
  if (result.count_ == 0) return result;
  result.sum_ns_ = sum_ns_.load(std::memory_order_relaxed);
  // An Add in progress may have counted its bucket and not yet moved the extremes.
  result.max_ns_ = std::max(max_ns_.load(std::memory_order_relaxed), Histogram::BucketLowNs(last));
  result.min_ns_ =
      std::min(min_ns_.load(std::memory_order_relaxed), Histogram::BucketHighNs(first));
  return result;
}

}  // namespace quorate
