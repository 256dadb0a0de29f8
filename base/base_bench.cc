// What the hot paths pay for the pieces of base.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/allocator.h"
#include "base/bounded_queue.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/histogram.h"
#include "base/random.h"

namespace quorate {
namespace {

void BM_HistogramAdd(benchmark::State& state) {
  Histogram histogram;
  Random random(1);
  std::vector<int64_t> values(1024);
  for (int64_t& value : values) value = static_cast<int64_t>(random.Below(100'000'000));
  size_t i = 0;
  for (auto _ : state) histogram.Add(values[i++ % values.size()]);
  benchmark::DoNotOptimize(histogram.count());
}
BENCHMARK(BM_HistogramAdd);

void BM_ConcurrentHistogramAdd(benchmark::State& state) {
  static ConcurrentHistogram histogram;
  int64_t value = 1000;
  for (auto _ : state) histogram.Add(value += 7);
}
BENCHMARK(BM_ConcurrentHistogramAdd)->Threads(1)->Threads(2);

void BM_Crc32c(benchmark::State& state) {
  const std::string data(static_cast<size_t>(state.range(0)), 'x');
  uint32_t crc = 0;
  for (auto _ : state) crc = Crc32c(crc, data);
  benchmark::DoNotOptimize(crc);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32c)->Arg(256)->Arg(64 << 10);

void BM_Crc32cPortable(benchmark::State& state) {
  const std::string data(static_cast<size_t>(state.range(0)), 'x');
  uint32_t crc = 0;
  for (auto _ : state) crc = Crc32cPortable(crc, data);
  benchmark::DoNotOptimize(crc);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32cPortable)->Arg(256)->Arg(64 << 10);

void BM_BytesCopy(benchmark::State& state) {
  const std::string data(256, 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Bytes::Copy(data));
}
BENCHMARK(BM_BytesCopy);

void BM_QueuePushTake(benchmark::State& state) {
  BoundedQueue<Bytes> queue(1024);
  const Bytes item = Bytes::Copy("item");
  std::vector<Bytes> batch;
  for (auto _ : state) {
    for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(queue.TryPush(Bytes(item)));
    queue.Take(&batch);
  }
  state.SetItemsProcessed(state.iterations() * 16);
}
BENCHMARK(BM_QueuePushTake);

// A window of living blocks of mixed sizes, the oldest freed for each new one.
void BM_Allocate(benchmark::State& state) {
  static std::vector<std::unique_ptr<Allocator>> allocators;
  const AllocatorRow& row = AllocatorRegistry()[static_cast<size_t>(state.range(0))];
  static Allocator* allocator = nullptr;
  if (state.thread_index() == 0) {
    auto created = CreateAllocator(row.name, {});
    QR_CHECK(created.ok());
    allocator = created->get();
    allocators.push_back(std::move(*created));
  }
  state.SetLabel(std::string(row.name));
  struct Block {
    void* memory = nullptr;
    size_t size = 0;
  };
  std::vector<Block> live(1000);
  Random random(static_cast<uint64_t>(state.thread_index()) + 1);
  size_t at = 0;
  for (auto _ : state) {
    Block& block = live[at++ % live.size()];
    if (block.memory != nullptr) allocator->Free(block.memory, block.size);
    block.size = 32 + random.Next() % 512;
    block.memory = allocator->Allocate(block.size);
    *static_cast<char*>(block.memory) = 'x';
  }
  for (const Block& block : live) {
    if (block.memory != nullptr) allocator->Free(block.memory, block.size);
  }
}
BENCHMARK(BM_Allocate)->DenseRange(0, 2)->Threads(1)->Threads(2);

}  // namespace
}  // namespace quorate
