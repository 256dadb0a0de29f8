#include "workloads/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace quorate::workload {
namespace {

// log1p(x) / x and expm1(x) / x, also where x is too small to divide by.
double Log1pRatio(double x) {
  return std::fabs(x) > 1e-8 ? std::log1p(x) / x : 1 - x * (0.5 - x / 3);
}
double Expm1Ratio(double x) {
  return std::fabs(x) > 1e-8 ? std::expm1(x) / x : 1 + x * (0.5 + x / 6);
}

}  // namespace

Zipf::Zipf(int64_t n, double theta) : n_(n), theta_(theta) {
  QR_CHECK(n >= 1 && theta >= 0);
  // The area under x^-theta from 0.5 to n + 0.5, with the first column moved so that rank 1 is
  // never rejected; integral_low_ lies above integral_high_'s other end.
  integral_low_ = Integral(1.5) - 1;
  integral_high_ = Integral(static_cast<double>(n) + 0.5);
  accept_below_ = 2 - IntegralInverse(Integral(2.5) - Weight(2));
}

double Zipf::Integral(double x) const {
  const double log_x = std::log(x);
  return Expm1Ratio((1 - theta_) * log_x) * log_x;
}

double Zipf::IntegralInverse(double x) const {
  const double t = std::max(x * (1 - theta_), -1.0);
  return std::exp(Log1pRatio(t) * x);
}

double Zipf::Weight(double x) const { return std::exp(-theta_ * std::log(x)); }

int64_t Zipf::Draw(Random& random) const {
  while (true) {
    const double u = integral_high_ + random.Unit() * (integral_low_ - integral_high_);
    const double x = IntegralInverse(u);
    const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(x + 0.5), 1, n_);
    const double rank_value = static_cast<double>(rank);
    if (rank_value - x <= accept_below_ || u >= Integral(rank_value + 0.5) - Weight(rank_value)) {
      return rank;
    }
  }
}

Scatter::Scatter(int64_t count) : count_(static_cast<uint64_t>(count)) {
  QR_CHECK(count >= 1);
  // The golden section of the row steps furthest from every earlier place; the next number that
  // shares no factor with the row's length makes the steps visit each place once.
  factor_ = std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(count) * 0.618034));
  while (std::gcd(factor_, count_) != 1) ++factor_;
}

KeyChooser::KeyChooser(const OperationSpec& spec, int64_t key_count, std::atomic<uint64_t>* next)
    : distribution_(spec.distribution),
      count_(key_count),
      hot_count_(std::clamp<int64_t>(
          static_cast<int64_t>(static_cast<double>(key_count) * spec.hot_fraction), 1, key_count)),
      hot_share_(spec.hot_share),
      zipf_(key_count, spec.theta),
      scatter_(key_count),
      next_(next) {
  QR_CHECK(distribution_ != Distribution::kSequential || next != nullptr);
}

int64_t KeyChooser::Choose(Random& random) const {
  switch (distribution_) {
    case Distribution::kSequential:
      return static_cast<int64_t>(next_->fetch_add(1, std::memory_order_relaxed) %
                                  static_cast<uint64_t>(count_));
    case Distribution::kUniform:
      break;
    case Distribution::kZipf:
      return scatter_.Map(zipf_.Draw(random) - 1);
    case Distribution::kHot: {
      const bool hot = hot_count_ == count_ || random.Unit() < hot_share_;
      const int64_t rank =
          hot ? random.Between(0, hot_count_ - 1) : random.Between(hot_count_, count_ - 1);
      return scatter_.Map(rank);
    }
  }
  return random.Between(0, count_ - 1);
}

}  // namespace quorate::workload
