// Time enters by constructor argument everywhere: the server passes a SystemClock, tests and the
// simulator a ManualClock. Times are nanoseconds in int64_t, with the unit in the name.
#pragma once

#include <atomic>
#include <cstdint>

namespace quorate {

inline constexpr int64_t kNanosPerMicro = 1'000;
inline constexpr int64_t kNanosPerMilli = 1'000'000;
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

// Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t MonotonicNs() const = 0;  // for durations and deadlines
  virtual int64_t WallNs() const = 0;       // since the Unix epoch; for people and id generation
};

class SystemClock final : public Clock {
 public:
  int64_t MonotonicNs() const override;
  int64_t WallNs() const override;
};

// Moves only when told to.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t start_ns = kNanosPerSecond) : now_ns_(start_ns) {}
  int64_t MonotonicNs() const override { return now_ns_; }
  int64_t WallNs() const override { return now_ns_; }
  void AdvanceNs(int64_t delta_ns) { now_ns_ += delta_ns; }

 private:
  std::atomic<int64_t> now_ns_;
};

}  // namespace quorate
