// The seed of a randomised test: QUORATE_SEED of the environment, else a new one per process.
// Printed once, so that a failure can be repeated. For tests only.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace quorate {

inline uint64_t TestSeed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("QUORATE_SEED");
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 10)
                                            : static_cast<uint64_t>(now.tv_nsec) + 1;
    std::fprintf(stderr, "QUORATE_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

}  // namespace quorate
