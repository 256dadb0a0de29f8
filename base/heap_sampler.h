// HeapSampler: where the memory that is in use was taken, by sampling: about one allocation in
// every so many bytes is remembered with its stack until it is freed. There is one of a process, as
// there is one heap: whoever hands out memory tells it (server/heap_hooks.cc for operator new,
// SampledAllocator for the selectable allocators). Until Start it costs a load and a branch. Any
// thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/allocator.h"

namespace quorate {

class HeapSampler {
 public:
  // Begins, once; what was allocated before stays unknown.
  static void Start(int64_t mean_bytes);

  static void OnAllocate(void* memory, size_t size) {
    if (on_.load(std::memory_order_relaxed)) Count(memory, size);
  }
  static void OnFree(void* memory) {
    if (on_.load(std::memory_order_relaxed)) Forget(memory);
  }

  // gperftools' text form, which `go tool pprof` and google-pprof read and scale up: in use and
  // since the start, by stack. Empty before Start.
  static std::string Profile();

 private:
  static void Count(void* memory, size_t size);
  static void Forget(void* memory);

  static std::atomic<bool> on_;
};

// `inner`, whose allocations are told to the HeapSampler.
std::unique_ptr<Allocator> SampledAllocator(std::unique_ptr<Allocator> inner);

}  // namespace quorate
