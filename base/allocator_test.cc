// The conformance suite of all allocators, and what each row promises beyond it.
#include "base/allocator.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <new>
#include <thread>

#include "base/bounded_queue.h"
#include "base/random.h"
#include "base/sanitizer.h"
#include "base/size_class.h"
#include "base/test_seed.h"

#if QUORATE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

#if !QUORATE_SANITIZED
// Counts every call of this program to malloc, and so to operator new. Sanitizers bring a malloc of
// their own: there the counting test has nothing to count and says so.
static std::atomic<uint64_t> malloc_calls{0};
extern "C" void* __libc_malloc(size_t size);
extern "C" void* malloc(size_t size) {
  malloc_calls.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
#endif

namespace quorate {
namespace {

// A sanitizer makes mapping large blocks slow.
constexpr int kSteps = QUORATE_SANITIZED ? 3'000 : 20'000;

struct Block {
  char* memory = nullptr;
  size_t size = 0;
  char mark = 0;
};

// The ends and every 512th byte: enough to notice blocks that overlap.
template <class Function>
void ForMarkedBytes(const Block& block, Function function) {
  for (size_t at = 0; at < block.size; at += 512) function(block.memory[at]);
  if (block.size > 0) function(block.memory[block.size - 1]);
}

Block NewBlock(Allocator* allocator, size_t size, char mark) {
  Block block{.memory = static_cast<char*>(allocator->Allocate(size)), .size = size, .mark = mark};
  ForMarkedBytes(block, [mark](char& byte) { byte = mark; });
  return block;
}

bool Intact(const Block& block) {
  bool intact = true;
  ForMarkedBytes(block, [&](char& byte) { intact = intact && byte == block.mark; });
  return intact;
}

// All magnitudes alike, up to 4 MiB.
size_t DrawSize(Random* random) { return random->Below(uint64_t{2} << random->Below(22)); }

std::unique_ptr<Allocator> Create(std::string_view name, const AllocatorOptions& options = {}) {
  auto allocator = CreateAllocator(name, options);
  INFO(allocator.status().ToString());
  REQUIRE(allocator.ok());
  return std::move(*allocator);
}

template <class Function>
void ForEachRow(Function function) {
  for (const AllocatorRow& row : AllocatorRegistry()) {
    DYNAMIC_SECTION(row.name) { function(Create(row.name)); }
  }
}

TEST_CASE("The registry names its rows, unknown ones are refused with the known") {
  REQUIRE(AllocatorRegistry().size() == 3);
  for (const AllocatorRow& row : AllocatorRegistry()) REQUIRE(Create(row.name)->name() == row.name);
  const auto status = CreateAllocator("tcmalloc", {}).status();
  REQUIRE(absl::IsInvalidArgument(status));
  REQUIRE(status.message() == "unknown allocator \"tcmalloc\"; known: malloc, jemalloc, arena");
}

TEST_CASE("Blocks of any size are aligned, do not overlap and are accounted for") {
  ForEachRow([](std::unique_ptr<Allocator> allocator) {
    Random random(TestSeed());
    std::vector<Block> live;
    size_t in_use = 0;
    size_t allocations = 0;
    for (int step = 0; step < kSteps; ++step) {
      const bool grow = in_use < (64 << 20) && random.Below(10) < 6;
      if (grow || live.empty()) {
        live.push_back(
            NewBlock(allocator.get(), DrawSize(&random), static_cast<char>(random.Next())));
        REQUIRE(reinterpret_cast<uintptr_t>(live.back().memory) % 16 == 0);
        in_use += live.back().size;
        ++allocations;
      } else {
        std::swap(live[random.Below(live.size())], live.back());
        REQUIRE(Intact(live.back()));
        allocator->Free(live.back().memory, live.back().size);
        in_use -= live.back().size;
        live.pop_back();
      }
    }
    REQUIRE(allocator->Stats().bytes_in_use == in_use);
    REQUIRE(allocator->Stats().bytes_reserved >= in_use);
    REQUIRE(allocator->Stats().allocations == allocations);
    REQUIRE(allocator->Stats().system_calls > 0);
    for (const Block& block : live) {
      REQUIRE(Intact(block));
      allocator->Free(block.memory, block.size);
    }
    REQUIRE(allocator->Stats().bytes_in_use == 0);
  });
}

TEST_CASE("Blocks of many megabytes can be had and given back") {
  ForEachRow([](std::unique_ptr<Allocator> allocator) {
    for (const size_t size :
         {size_t{1} << 20, size_t{16} << 20, (size_t{16} << 20) + 1, size_t{100} << 20}) {
      const Block block = NewBlock(allocator.get(), size, 'x');
      REQUIRE(Intact(block));
      allocator->Free(block.memory, block.size);
    }
    REQUIRE(allocator->Stats().bytes_in_use == 0);
  });
}

TEST_CASE("A block may be freed by another thread than its own") {
  ForEachRow([](std::unique_ptr<Allocator> allocator) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 3'000;
    std::vector<std::unique_ptr<BoundedQueue<Block>>> queues;
    for (int i = 0; i < kThreads; ++i) queues.push_back(std::make_unique<BoundedQueue<Block>>(1));
    std::atomic<int> broken = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        Random random(TestSeed() + static_cast<uint64_t>(t));
        BoundedQueue<Block>& to_next = *queues[static_cast<size_t>((t + 1) % kThreads)];
        std::vector<Block> batch;
        for (int round = 0; round < kRounds; ++round) {
          // Now and then a few at once, so that the lists of the arena run full and empty.
          std::vector<Block> own;
          for (uint64_t n = random.Below(40); n > 0; --n) {
            own.push_back(NewBlock(allocator.get(), random.Below(2000), static_cast<char>(t)));
          }
          for (Block& block : own) to_next.PushUnbounded(std::move(block));
          queues[static_cast<size_t>(t)]->Take(&batch);
          for (const Block& block : batch) {
            if (!Intact(block)) ++broken;
            allocator->Free(block.memory, block.size);
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (auto& queue : queues) {
      std::vector<Block> rest;
      queue->Take(&rest);
      for (const Block& block : rest) {
        if (!Intact(block)) ++broken;
        allocator->Free(block.memory, block.size);
      }
    }
    REQUIRE(broken == 0);
    REQUIRE(allocator->Stats().bytes_in_use == 0);
  });
}

// One round of what a server does: chunks, nodes and requests come and go.
void ServerRound(Allocator* allocator, std::vector<Block>* live, Random* random) {
  const size_t sizes[] = {48, 112, 300, 1500, 9000, 70'000, 1 << 20, 3 << 20};
  for (const size_t size : sizes) {
    for (int i = 0; i < 20; ++i) {
      const size_t drawn = size - random->Below(16);
      live->push_back({static_cast<char*>(allocator->Allocate(drawn)), drawn, 0});
    }
  }
  for (const Block& block : *live) allocator->Free(block.memory, block.size);
  live->clear();
}

TEST_CASE("A warm arena asks neither the kernel nor malloc for anything") {
  const auto allocator = Create("arena");
  std::vector<Block> live;
  live.reserve(1000);
  Random random(TestSeed());
  for (int i = 0; i < 20; ++i) ServerRound(allocator.get(), &live, &random);
  const uint64_t system_calls = allocator->Stats().system_calls;
#if QUORATE_SANITIZED
  WARN("calls to malloc are not counted in a sanitizer build");
#else
  const uint64_t mallocs = malloc_calls;
#endif
  for (int i = 0; i < 200; ++i) ServerRound(allocator.get(), &live, &random);
#if !QUORATE_SANITIZED
  REQUIRE(malloc_calls == mallocs);
  // The counter itself works: the other rows do ask.
  const auto plain = Create("malloc");
  const uint64_t before = malloc_calls;
  plain->Free(plain->Allocate(100), 100);
  REQUIRE(malloc_calls == before + 1);
#endif
  REQUIRE(allocator->Stats().system_calls == system_calls);
}

TEST_CASE("Memory that flows from one thread to another comes back to the arena") {
  const auto allocator = Create("arena");
  BoundedQueue<Block> queue(100);
  std::thread consumer([&] {
    std::vector<Block> batch;
    while (queue.WaitTake(&batch)) {
      for (const Block& block : batch) allocator->Free(block.memory, block.size);
    }
  });
  // 400 MB flow through 100 places.
  for (int i = 0; i < 200'000; ++i) {
    Block block = NewBlock(allocator.get(), 2000, 'p');
    while (!queue.TryPush(std::move(block))) std::this_thread::yield();
  }
  queue.Close();
  consumer.join();
  REQUIRE(allocator->Stats().bytes_in_use == 0);
  REQUIRE(allocator->Stats().bytes_reserved == 64 << 20);
}

TEST_CASE("An arena that is full takes further regions of the same size and counts them") {
  const auto allocator = Create("arena", {.arena_bytes = 2 << 20});
  REQUIRE(allocator->Stats().bytes_reserved == 2 << 20);
  REQUIRE(allocator->Stats().system_calls == 1);
  std::vector<Block> live;
  for (int i = 0; i < 50; ++i) live.push_back(NewBlock(allocator.get(), 100'000, 'r'));
  REQUIRE(allocator->Stats().bytes_reserved == 6 << 20);
  REQUIRE(allocator->Stats().system_calls == 3);
  for (const Block& block : live) REQUIRE(Intact(block));
  for (const Block& block : live) allocator->Free(block.memory, block.size);
  for (Block& block : live) block = NewBlock(allocator.get(), 100'000, 's');
  REQUIRE(allocator->Stats().system_calls == 3);
  // Larger than a region: one of its own size.
  const Block large = NewBlock(allocator.get(), 10 << 20, 'l');
  REQUIRE(allocator->Stats().bytes_reserved >= 16 << 20);
  allocator->Free(large.memory, large.size);
}

TEST_CASE("A prefaulted arena meets no page faults later") {
#if QUORATE_SANITIZED
  WARN("skipped: the sanitizer's own memory faults");
#else
  const auto faults = [] {
    rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
  };
  const auto touch = [&](AllocatorOptions::Prefault prefault) {
    const auto allocator = Create("arena", {.arena_bytes = 16 << 20, .prefault = prefault});
    const auto before = faults();
    for (int i = 0; i < 14; ++i) std::memset(allocator->Allocate(1 << 20), 1, 1 << 20);
    return faults() - before;
  };
  REQUIRE(touch(AllocatorOptions::Prefault::kYes) < 20);
  REQUIRE(touch(AllocatorOptions::Prefault::kNo) > 20);
#endif
}

TEST_CASE("A size class holds what it is chosen for and wastes at most a quarter") {
  for (size_t size = 0; size <= 100'000; ++size) {
    const size_t block = SizeOfClass(SizeClassOf(size));
    REQUIRE(block >= size);
    REQUIRE(block % kBlockAlignment == 0);
    if (size > kFineMaxBytes) REQUIRE(block - size <= size / 4);
  }
  for (size_t i = 0; i < kSizeClasses; ++i) REQUIRE(SizeClassOf(SizeOfClass(i)) == i);
}

TEST_CASE("The address sanitizer sees use of freed arena memory and overruns") {
#if QUORATE_ADDRESS_SANITIZER
  const auto allocator = Create("arena");
  for (const size_t size : {100, 5000, 200'000}) {
    auto* memory = static_cast<char*>(allocator->Allocate(size));
    REQUIRE_FALSE(__asan_address_is_poisoned(memory));
    REQUIRE_FALSE(__asan_address_is_poisoned(memory + size - 1));
    REQUIRE(__asan_address_is_poisoned(memory + size));
    allocator->Free(memory, size);
    REQUIRE(__asan_address_is_poisoned(memory));
    REQUIRE(__asan_address_is_poisoned(memory + size - 1));
  }
#else
  SUCCEED("only in the asan build");
#endif
}

TEST_CASE("The jemalloc row leaves the process's malloc alone") {
  const auto allocator = Create("jemalloc");
#if !QUORATE_SANITIZED
  Dl_info info;
  REQUIRE(dladdr(dlsym(RTLD_DEFAULT, "free"), &info) != 0);
  REQUIRE(std::string(info.dli_fname).find("libc.so") != std::string::npos);
  const size_t malloc_bytes = mallinfo2().uordblks;
#endif
  std::vector<Block> live;
  for (int i = 0; i < 10'000; ++i) live.push_back(NewBlock(allocator.get(), 4096, 'j'));
  REQUIRE(allocator->Stats().bytes_reserved >= live.size() * 4096);
  REQUIRE(allocator->Stats().system_calls > 0);
#if !QUORATE_SANITIZED
  REQUIRE(mallinfo2().uordblks - malloc_bytes < 4 << 20);
#endif
  for (const Block& block : live) allocator->Free(block.memory, block.size);
}

}  // namespace
}  // namespace quorate
