// Random: a seeded generator (xoshiro256**), passed by reference to whatever draws. Equal seeds
// give equal draws on every machine. Not thread-safe: one per owner.
#pragma once

#include <array>
#include <cstdint>

namespace quorate {

class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high], both ends included.
  int64_t Between(int64_t low, int64_t high);
  // Uniform in [0, 1).
  double Unit();
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  // UniformRandomBitGenerator, for the standard library's distributions and shuffles.
  using result_type = uint64_t;
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }
  uint64_t operator()() { return Next(); }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace quorate
