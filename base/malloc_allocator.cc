#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "base/allocation_counts.h"
#include "base/allocator_rows.h"
#include "base/check.h"
#include "base/text.h"

namespace quorate {
namespace {

static_assert(alignof(std::max_align_t) >= 16, "malloc must align as the interface promises");

class MallocAllocator final : public Allocator {
 public:
  void* Allocate(size_t size) override {
    void* memory = std::malloc(std::max<size_t>(size, 1));
    QR_CHECK_MSG(memory != nullptr, StrCat("out of memory for ", size, " bytes"));
    counts_.Allocated(size);
    return memory;
  }

  void Free(void* memory, size_t size) override {
    std::free(memory);
    counts_.Freed(size);
  }

  AllocatorStats Stats() const override {
    AllocatorStats stats;
    stats.bytes_in_use = counts_.bytes_in_use();
    // What malloc reserved for the whole process; a sanitizer's malloc does not report here.
    const struct mallinfo2 info = mallinfo2();
    stats.bytes_reserved = std::max<uint64_t>(info.arena + info.hblkhd, stats.bytes_in_use);
    stats.allocations = counts_.allocations();
    stats.system_calls = stats.allocations;  // this row is the system allocator
    return stats;
  }

  std::string_view name() const override { return "malloc"; }

 private:
  AllocationCounts counts_;
};

}  // namespace

std::unique_ptr<Allocator> CreateMallocAllocator(const AllocatorOptions&) {
  return std::make_unique<MallocAllocator>();
}

}  // namespace quorate
