// Which key an operation takes. Equal seeds give equal draws. Popular keys of zipf and hot are
// spread over the whole space (neighbours in rank are not neighbours in key order).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/random.h"
#include "workloads/workload.h"

namespace quorate::workload {

// Ranks 1..n with probability proportional to 1 / rank^theta, in constant time and memory for any
// n: rejection-inversion after Hörmann and Derflinger, "Rejection-inversion to generate variates
// from monotone discrete distributions" (ACM TOMACS 6, 1996).
class Zipf {
 public:
  Zipf(int64_t n, double theta);  // n >= 1, theta >= 0
  int64_t Draw(Random& random) const;

 private:
  double Integral(double x) const;  // of x^-theta
  double IntegralInverse(double x) const;
  double Weight(double x) const;

  int64_t n_;
  double theta_;
  double integral_low_;
  double integral_high_;
  double accept_below_;
};

// A fixed permutation of 0..count-1 that tears neighbours apart.
class Scatter {
 public:
  explicit Scatter(int64_t count);
  int64_t Map(int64_t rank) const {
    return static_cast<int64_t>(static_cast<unsigned __int128>(rank) * factor_ % count_);
  }

 private:
  uint64_t count_;
  uint64_t factor_;
};

class KeyChooser {
 public:
  // `next` is the counter of a sequential row, shared by all that walk it together.
  KeyChooser(const OperationSpec& spec, int64_t key_count, std::atomic<uint64_t>* next);
  int64_t Choose(Random& random) const;

 private:
  Distribution distribution_;
  int64_t count_;
  int64_t hot_count_;
  double hot_share_;
  Zipf zipf_;
  Scatter scatter_;
  std::atomic<uint64_t>* next_;
};

}  // namespace quorate::workload
