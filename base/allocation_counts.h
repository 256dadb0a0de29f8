// Counts of an allocator that has none of its own, sharded so that threads do not share a line.
// Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/thread_slot.h"

namespace quorate {

class AllocationCounts {
 public:
  void Allocated(size_t size) {
    Shard& shard = Mine();
    shard.bytes.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed);
    shard.allocations.fetch_add(1, std::memory_order_relaxed);
  }
  void Freed(size_t size) {
    Mine().bytes.fetch_sub(static_cast<int64_t>(size), std::memory_order_relaxed);
  }

  uint64_t bytes_in_use() const {
    int64_t sum = 0;  // a single shard may be negative: another thread frees than allocated
    for (const Shard& shard : shards_) sum += shard.bytes.load(std::memory_order_relaxed);
    return sum < 0 ? 0 : static_cast<uint64_t>(sum);
  }
  uint64_t allocations() const {
    uint64_t sum = 0;
    for (const Shard& shard : shards_) sum += shard.allocations.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(kCacheLineBytes) Shard {
    std::atomic<int64_t> bytes{0};
    std::atomic<uint64_t> allocations{0};
  };
  Shard& Mine() { return shards_[ThreadSlot() % shards_.size()]; }

  std::array<Shard, 16> shards_;
};

}  // namespace quorate
