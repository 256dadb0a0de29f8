// What is in use, and what was freed, as a profile tells it.
#include "base/heap_sampler.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

namespace quorate {
namespace {

struct Totals {
  unsigned long long count = 0, bytes = 0, all_count = 0, all_bytes = 0, mean = 0;
};

Totals Read() {
  Totals totals;
  REQUIRE(std::sscanf(HeapSampler::Profile().c_str(),
                      "heap profile: %llu: %llu [%llu: %llu] @ heap_v2/%llu", &totals.count,
                      &totals.bytes, &totals.all_count, &totals.all_bytes, &totals.mean) == 5);
  return totals;
}

TEST_CASE("about one allocation in so many bytes is known until it is freed") {
  REQUIRE(HeapSampler::Profile().empty());
  constexpr size_t kSize = 1000;
  constexpr size_t kMean = 10'000;
  constexpr size_t kCount = 20'000;
  HeapSampler::Start(kMean);
  auto allocator = SampledAllocator(*CreateAllocator("malloc", {}));
  std::vector<void*> memory;
  for (size_t i = 0; i < kCount; ++i) memory.push_back(allocator->Allocate(kSize));
  const Totals full = Read();
  REQUIRE(full.mean == kMean);
  REQUIRE(full.bytes == full.count * kSize);
  // 2,000 are expected, with a deviation of 45.
  REQUIRE(full.count > 1600);
  REQUIRE(full.count < 2400);
  for (size_t i = 0; i < kCount / 2; ++i) allocator->Free(memory[i], kSize);
  const Totals half = Read();
  REQUIRE(half.count > 600);
  REQUIRE(half.count < full.count - 600);
  for (size_t i = kCount / 2; i < kCount; ++i) allocator->Free(memory[i], kSize);
  const Totals empty = Read();
  REQUIRE(empty.count == 0);
  REQUIRE(empty.bytes == 0);
  REQUIRE(empty.all_count == full.count);
  REQUIRE(empty.all_bytes == full.bytes);
  const std::string profile = HeapSampler::Profile();
  REQUIRE(profile.find("] @ 0x") != std::string::npos);
  REQUIRE(profile.find("\nMAPPED_LIBRARIES:\n") != std::string::npos);
  REQUIRE(profile.find("base_test") != std::string::npos);
}

}  // namespace
}  // namespace quorate
