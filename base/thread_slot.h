// A small number per thread, given out in order of first use: threads that come one after the other
// fall into different shards of a sharded structure.
#pragma once

#include <atomic>
#include <cstddef>

namespace quorate {

inline constexpr size_t kCacheLineBytes = 64;

inline size_t ThreadSlot() {
  static std::atomic<size_t> next{0};
  thread_local const size_t slot = next.fetch_add(1, std::memory_order_relaxed);
  return slot;
}

}  // namespace quorate
