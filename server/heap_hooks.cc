// The program's operator new and delete: the C library's memory, told to the HeapSampler. Compiled
// into the server only; under a sanitizer, which has its own, not at all.
#include <cstddef>
#include <cstdlib>

#include "base/heap_sampler.h"
#include "base/sanitizer.h"

#if !QUORATE_SANITIZED

void* operator new(size_t size) {
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  quorate::HeapSampler::OnAllocate(memory, size);
  return memory;
}

void operator delete(void* memory) noexcept {
  quorate::HeapSampler::OnFree(memory);
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

#endif
