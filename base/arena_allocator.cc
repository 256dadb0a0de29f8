// Size classes over large regions. A freed block keeps its class for ever and goes to a free list:
// once every class has seen its peak, no call reaches the system any more.
//
//   shard (by thread): short free lists per small class, behind a lock that one thread uses mostly
//   depot (per class): one free list, and the rest of a span that is not yet cut into blocks
//   regions: spans are cut off their front
//
// Blocks move between shard and depot half a list at a time, so memory that one thread allocates
// and another frees (requests, replies) comes back. Lock order: shard, depot, regions. Blocks above
// the largest class are mapped and unmapped one by one.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/allocator_rows.h"
#include "base/check.h"
#include "base/sanitizer.h"
#include "base/size_class.h"
#include "base/spin_lock.h"
#include "base/text.h"
#include "base/thread_slot.h"

#if QUORATE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

namespace quorate {
namespace {

constexpr size_t kRegionDefaultBytes = size_t{64} << 20;
constexpr size_t kRegionMinBytes = size_t{1} << 20;
constexpr size_t kSpanBytes = size_t{64} << 10;       // what small classes take from a region
constexpr size_t kCachedMaxBytes = size_t{32} << 10;  // larger blocks go to the depot at once
constexpr size_t kCachedClasses = SizeClassOf(kCachedMaxBytes) + 1;
constexpr size_t kShards = 16;
constexpr size_t kCachedBytesMax = size_t{32} << 10;  // per shard and class, within these counts
constexpr size_t kCachedBlocksMin = 4;
constexpr size_t kCachedBlocksMax = 64;

constexpr size_t CachedBlocks(size_t size_class) {
  return std::clamp(kCachedBytesMax / SizeOfClass(size_class), kCachedBlocksMin, kCachedBlocksMax);
}

// The address sanitizer treats free blocks as its own malloc's, and looks for pointers to living
// objects in the regions.
#if QUORATE_ADDRESS_SANITIZER
void Forbid(void* memory, size_t size) { ASAN_POISON_MEMORY_REGION(memory, size); }
void Permit(void* memory, size_t size) { ASAN_UNPOISON_MEMORY_REGION(memory, size); }
void RegionMapped(void* memory, size_t size) { __lsan_register_root_region(memory, size); }
void RegionUnmapped(void* memory, size_t size) { __lsan_unregister_root_region(memory, size); }
#else
void Forbid(void*, size_t) {}
void Permit(void*, size_t) {}
void RegionMapped(void*, size_t) {}
void RegionUnmapped(void*, size_t) {}
#endif

size_t RoundUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// Free blocks, linked through their own first bytes.
class FreeList {
 public:
  size_t count() const { return count_; }

  void Push(void* block, size_t block_size) {
    Permit(block, sizeof(head_));
    std::memcpy(block, &head_, sizeof(head_));
    Forbid(block, block_size);
    head_ = block;
    ++count_;
  }

  // Null when empty. The block is still forbidden to the sanitizer.
  void* Pop() {
    void* block = head_;
    if (block == nullptr) return nullptr;
    Permit(block, sizeof(head_));
    std::memcpy(&head_, block, sizeof(head_));
    Forbid(block, sizeof(head_));
    --count_;
    return block;
  }

 private:
  void* head_ = nullptr;
  size_t count_ = 0;
};

class ArenaAllocator final : public Allocator {
 public:
  explicit ArenaAllocator(const AllocatorOptions& options)
      : page_bytes_(static_cast<size_t>(::sysconf(_SC_PAGESIZE))),
        region_bytes_(RegionBytes(options, page_bytes_)),
        prefault_(options.prefault) {
    std::lock_guard lock(regions_mutex_);
    AddRegion(region_bytes_);
  }

  ~ArenaAllocator() override {
    for (const Region& region : regions_) Unmap(region.begin, region.size);
  }

  void* Allocate(size_t size) override {
    Shard& shard = MyShard();
    void* block = nullptr;
    const size_t size_class = size <= kClassMaxBytes ? SizeClassOf(size) : kSizeClasses;
    {
      std::lock_guard lock(shard.lock);
      ++shard.allocations;
      shard.bytes_in_use += static_cast<int64_t>(size);
      if (size_class < kCachedClasses) {
        FreeList& list = shard.lists[size_class];
        if (list.count() == 0) Refill(size_class, &list);
        block = list.Pop();
      }
    }
    if (block == nullptr) {
      block =
          size_class < kSizeClasses ? TakeFromDepot(size_class) : Map(RoundUp(size, page_bytes_));
    }
    Permit(block, size);
    return block;
  }

  void Free(void* memory, size_t size) override {
    Shard& shard = MyShard();
    const size_t size_class = size <= kClassMaxBytes ? SizeClassOf(size) : kSizeClasses;
    {
      std::lock_guard lock(shard.lock);
      shard.bytes_in_use -= static_cast<int64_t>(size);
      if (size_class < kCachedClasses) {
        FreeList& list = shard.lists[size_class];
        list.Push(memory, SizeOfClass(size_class));
        if (list.count() > CachedBlocks(size_class)) Drain(size_class, &list);
        return;
      }
    }
    if (size_class == kSizeClasses) {
      Unmap(static_cast<char*>(memory), RoundUp(size, page_bytes_));
      return;
    }
    Depot& depot = depots_[size_class];
    std::lock_guard lock(depot.lock);
    depot.free.Push(memory, SizeOfClass(size_class));
  }

  AllocatorStats Stats() const override {
    AllocatorStats stats;
    int64_t in_use = 0;  // a single shard may be negative: another thread frees than allocated
    for (const Shard& shard : shards_) {
      std::lock_guard lock(shard.lock);
      in_use += shard.bytes_in_use;
      stats.allocations += shard.allocations;
    }
    stats.bytes_in_use = in_use < 0 ? 0 : static_cast<uint64_t>(in_use);
    stats.bytes_reserved = bytes_reserved_.load(std::memory_order_relaxed);
    stats.system_calls = system_calls_.load(std::memory_order_relaxed);
    return stats;
  }

  std::string_view name() const override { return "arena"; }

 private:
  struct alignas(kCacheLineBytes) Shard {
    mutable SpinLock lock;
    uint64_t allocations = 0;
    int64_t bytes_in_use = 0;
    std::array<FreeList, kCachedClasses> lists;
  };
  struct alignas(kCacheLineBytes) Depot {
    SpinLock lock;
    FreeList free;
    char* uncut = nullptr;  // rest of the last span
    size_t uncut_blocks = 0;
  };
  struct Region {
    char* begin = nullptr;
    size_t size = 0;
    size_t used = 0;
  };

  static size_t RegionBytes(const AllocatorOptions& options, size_t page_bytes) {
    if (options.arena_bytes == 0) return kRegionDefaultBytes;
    return RoundUp(std::max<size_t>(options.arena_bytes, kRegionMinBytes), page_bytes);
  }

  Shard& MyShard() { return shards_[ThreadSlot() % kShards]; }

  // The depot is locked.
  void* CutBlock(size_t size_class, Depot* depot) {
    const size_t size = SizeOfClass(size_class);
    if (depot->uncut_blocks == 0) {
      depot->uncut_blocks = std::max<size_t>(kSpanBytes / size, 1);
      depot->uncut = TakeSpan(depot->uncut_blocks * size);
    }
    char* block = depot->uncut;
    depot->uncut += size;
    --depot->uncut_blocks;
    return block;
  }

  void* TakeFromDepot(size_t size_class) {
    Depot& depot = depots_[size_class];
    std::lock_guard lock(depot.lock);
    void* block = depot.free.Pop();
    return block != nullptr ? block : CutBlock(size_class, &depot);
  }

  // The shard of `list` is locked.
  void Refill(size_t size_class, FreeList* list) {
    const size_t wanted = CachedBlocks(size_class) / 2;
    const size_t size = SizeOfClass(size_class);
    Depot& depot = depots_[size_class];
    std::lock_guard lock(depot.lock);
    for (size_t i = 0; i < wanted; ++i) {
      void* block = depot.free.Pop();
      // A span is begun only for the block that is needed now, not to fill the list.
      if (block == nullptr && i > 0 && depot.uncut_blocks == 0) break;
      if (block == nullptr) block = CutBlock(size_class, &depot);
      list->Push(block, size);
    }
  }

  // The shard of `list` is locked.
  void Drain(size_t size_class, FreeList* list) {
    const size_t surplus = CachedBlocks(size_class) / 2;
    const size_t size = SizeOfClass(size_class);
    Depot& depot = depots_[size_class];
    std::lock_guard lock(depot.lock);
    for (size_t i = 0; i < surplus; ++i) depot.free.Push(list->Pop(), size);
  }

  char* TakeSpan(size_t size) {
    size = RoundUp(size, kCacheLineBytes);
    std::lock_guard lock(regions_mutex_);
    for (Region& region : regions_) {
      if (region.size - region.used >= size) return CutSpan(&region, size);
    }
    AddRegion(std::max(region_bytes_, RoundUp(size, page_bytes_)));
    return CutSpan(&regions_.back(), size);
  }

  static char* CutSpan(Region* region, size_t size) {
    char* span = region->begin + region->used;
    region->used += size;
    return span;
  }

  // regions_mutex_ is held.
  void AddRegion(size_t size) {
    char* begin = Map(size);
    if (prefault_ == AllocatorOptions::Prefault::kYes) {
      // Locking needs a right or a limit that many users lack; the pages are there either way.
      CountSystemCall();
      static_cast<void>(::mlock(begin, size));
    }
    Forbid(begin, size);
    regions_.push_back({.begin = begin, .size = size});
  }

  char* Map(size_t size) {
    const int populate = prefault_ == AllocatorOptions::Prefault::kYes ? MAP_POPULATE : 0;
    CountSystemCall();
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
    QR_CHECK_MSG(memory != MAP_FAILED,
                 StrCat("out of memory for ", size, " bytes: ", std::strerror(errno)));
    bytes_reserved_.fetch_add(size, std::memory_order_relaxed);
    RegionMapped(memory, size);
    return static_cast<char*>(memory);
  }

  void Unmap(char* memory, size_t size) {
    RegionUnmapped(memory, size);
    Permit(memory, size);
    CountSystemCall();
    QR_CHECK(::munmap(memory, size) == 0);
    bytes_reserved_.fetch_sub(size, std::memory_order_relaxed);
  }

  void CountSystemCall() { system_calls_.fetch_add(1, std::memory_order_relaxed); }

  const size_t page_bytes_;
  const size_t region_bytes_;
  const AllocatorOptions::Prefault prefault_;
  std::array<Shard, kShards> shards_;
  std::array<Depot, kSizeClasses> depots_;
  std::mutex regions_mutex_;  // guards regions_
  std::vector<Region> regions_;
  std::atomic<uint64_t> bytes_reserved_{0};
  std::atomic<uint64_t> system_calls_{0};
};

}  // namespace

std::unique_ptr<Allocator> CreateArenaAllocator(const AllocatorOptions& options) {
  return std::make_unique<ArenaAllocator>(options);
}

}  // namespace quorate
