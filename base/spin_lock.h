// SpinLock: for sections of a few instructions that seldom meet. It gives the processor away after
// a short while: on a small machine the holder may be waiting for that very processor.
#pragma once

#include <sched.h>

#include <atomic>
#include <mutex>  // std::lock_guard

namespace quorate {

class SpinLock {
 public:
  void lock() {
    while (locked_.exchange(true, std::memory_order_acquire)) {
      for (int spins = 0; locked_.load(std::memory_order_relaxed); ++spins) {
        if (spins >= kSpinsMax) sched_yield();
      }
    }
  }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  static constexpr int kSpinsMax = 100;
  std::atomic<bool> locked_{false};
};

}  // namespace quorate
