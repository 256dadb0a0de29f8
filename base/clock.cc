#include "base/clock.h"

#include <ctime>

namespace quorate {
namespace {

int64_t ReadClock(clockid_t id) {
  timespec now;
  clock_gettime(id, &now);
  return int64_t{now.tv_sec} * kNanosPerSecond + now.tv_nsec;
}

}  // namespace

int64_t SystemClock::MonotonicNs() const { return ReadClock(CLOCK_MONOTONIC); }
int64_t SystemClock::WallNs() const { return ReadClock(CLOCK_REALTIME); }

}  // namespace quorate
