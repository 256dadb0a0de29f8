// jemalloc beside the C library's malloc. Debian's jemalloc has the names malloc, free, operator
// new: linking it would replace them for the whole process, and opening its shared library at run
// time fails (its thread-local storage must be laid out at start: "cannot allocate memory in static
// TLS block"). So the build makes a private copy of the static library in which all names are
// local, but for three under the prefix quorate_je_ (see base/PrivateJemalloc.cmake); and its calls
// to mmap, munmap and madvise come here, where they are counted.
#include "base/allocator_rows.h"
#include "base/check.h"
#include "base/sanitizer.h"
#include "base/text.h"

#if defined(QUORATE_HAVE_JEMALLOC)

#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "base/allocation_counts.h"

#if QUORATE_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace {

std::atomic<uint64_t> jemalloc_kernel_calls{0};

}  // namespace

extern "C" {

void* quorate_je_mallocx(size_t size, int flags);
void quorate_je_sdallocx(void* memory, size_t size, int flags);
int quorate_je_mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size);

void* quorate_je_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  jemalloc_kernel_calls.fetch_add(1, std::memory_order_relaxed);
  return ::mmap(address, size, protection, flags, fd, offset);
}

int quorate_je_munmap(void* address, size_t size) {
  jemalloc_kernel_calls.fetch_add(1, std::memory_order_relaxed);
  return ::munmap(address, size);
}

int quorate_je_madvise(void* address, size_t size, int advice) {
  jemalloc_kernel_calls.fetch_add(1, std::memory_order_relaxed);
  return ::madvise(address, size, advice);
}

// jemalloc wants to take all its locks around a fork, so that the child may go on allocating. Our
// children only exec: not worth the time, nor the thread sanitizer's limit of 64 locks at once.
int quorate_je_pthread_atfork(void (*)(), void (*)(), void (*)()) { return 0; }

}  // extern "C"

namespace quorate {
namespace {

// jemalloc's code is not instrumented: the thread sanitizer cannot see that a block which one
// thread frees and another gets was handed over by its atomics.
#if QUORATE_THREAD_SANITIZER
char tsan_hand_over;
void TellFreed() { __tsan_release(&tsan_hand_over); }
void TellAllocated() { __tsan_acquire(&tsan_hand_over); }
#else
void TellFreed() {}
void TellAllocated() {}
#endif

// Its smallest class, 8 bytes, is aligned to 8; from here on classes are multiples of 16.
constexpr size_t kSmallestBytes = 16;

// All objects share one jemalloc heap; in use, allocations are per object.
class JemallocAllocator final : public Allocator {
 public:
  void* Allocate(size_t size) override {
    void* memory = quorate_je_mallocx(std::max(size, kSmallestBytes), 0);
    QR_CHECK_MSG(memory != nullptr, StrCat("out of memory for ", size, " bytes"));
    TellAllocated();
    counts_.Allocated(size);
    return memory;
  }

  void Free(void* memory, size_t size) override {
    TellFreed();
    quorate_je_sdallocx(memory, std::max(size, kSmallestBytes), 0);
    counts_.Freed(size);
  }

  AllocatorStats Stats() const override {
    AllocatorStats stats;
    stats.bytes_in_use = counts_.bytes_in_use();
    stats.bytes_reserved = MappedBytes();
    stats.system_calls = jemalloc_kernel_calls.load(std::memory_order_relaxed);
    stats.allocations = counts_.allocations();
    return stats;
  }

  std::string_view name() const override { return "jemalloc"; }

 private:
  static uint64_t MappedBytes() {
    // jemalloc sums its counters up when the epoch is advanced.
    uint64_t epoch = 1;
    size_t size = sizeof(epoch);
    QR_CHECK(quorate_je_mallctl("epoch", &epoch, &size, &epoch, size) == 0);
    size_t mapped = 0;
    size = sizeof(mapped);
    QR_CHECK(quorate_je_mallctl("stats.mapped", &mapped, &size, nullptr, 0) == 0);
    return mapped;
  }

  AllocationCounts counts_;
};

}  // namespace

absl::Status ProbeJemalloc() { return absl::OkStatus(); }

std::unique_ptr<Allocator> CreateJemallocAllocator(const AllocatorOptions&) {
  return std::make_unique<JemallocAllocator>();
}

}  // namespace quorate

#else

namespace quorate {

absl::Status ProbeJemalloc() {
  return absl::UnavailableError(
      "allocator \"jemalloc\" is not in this build: install Debian's libjemalloc-dev, configure "
      "and "
      "build again, or use malloc or arena");
}

std::unique_ptr<Allocator> CreateJemallocAllocator(const AllocatorOptions&) {
  QR_CHECK_MSG(false, "created without a look at the probe");
  return nullptr;
}

}  // namespace quorate

#endif
