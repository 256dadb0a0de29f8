// The clock of one member: runs by its own rate, and its wall time can jump. True time is the
// kernel's.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "tests/sim/kernel.h"

namespace quorate::sim {

class SimClock final : public Clock {
 public:
  SimClock(const Kernel* kernel, int64_t gain_ppm)
      : kernel_(kernel), gain_ppm_(gain_ppm), origin_ns_(kernel->now_ns()) {}

  int64_t MonotonicNs() const override { return ToLocal(kernel_->now_ns()); }
  int64_t WallNs() const override { return kWallStartNs + MonotonicNs() + wall_offset_ns_; }

  // The delay in true time until this clock shows `local_ns`; 0 when it does already.
  int64_t TrueDelayUntil(int64_t local_ns) const {
    const int64_t left_ns = local_ns - MonotonicNs();
    if (left_ns <= 0) return 0;
    // Up to a day per call, so that nothing overflows. One more for what division cuts off.
    const int64_t bounded_ns = left_ns < kDayNs ? left_ns : kDayNs;
    return static_cast<int64_t>(static_cast<double>(bounded_ns) * 1e6 /
                                static_cast<double>(1'000'000 + gain_ppm_)) +
           1;
  }
  void JumpWall(int64_t delta_ns) { wall_offset_ns_ += delta_ns; }

 private:
  static constexpr int64_t kDayNs = 86'400 * kNanosPerSecond;
  static constexpr int64_t kWallStartNs = 1'700'000'000 * kNanosPerSecond;

  int64_t ToLocal(int64_t true_ns) const {
    const int64_t passed_ns = true_ns - origin_ns_;
    return origin_ns_ + passed_ns + passed_ns / 1'000'000 * gain_ppm_;
  }

  const Kernel* const kernel_;
  const int64_t gain_ppm_;
  const int64_t origin_ns_;
  int64_t wall_offset_ns_ = 0;
};

}  // namespace quorate::sim
