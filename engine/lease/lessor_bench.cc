// Lease storms: what renewals, promotions and attachments cost, and the memory of a lease.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "engine/lease/lessor.h"

namespace quorate::engine {
namespace {

std::unique_ptr<Lessor> Filled(int64_t leases) {
  auto lessor = std::make_unique<Lessor>(Lessor::Options{});
  for (int64_t i = 1; i <= leases; ++i) lessor->Grant(LeaseId(i), 10 + i % 50);
  return lessor;
}

void BM_Renew(benchmark::State& state) {
  const auto lessor = Filled(state.range(0));
  lessor->Promote(0, 0);
  Random random(1);
  int64_t now_ns = 0;
  for (auto _ : state) {
    const LeaseId id(1 + static_cast<int64_t>(random.Below(static_cast<uint64_t>(state.range(0)))));
    benchmark::DoNotOptimize(lessor->Renew(id, now_ns += 10));
  }
}
BENCHMARK(BM_Renew)->Arg(1'000)->Arg(1'000'000);

void BM_Promote(benchmark::State& state) {
  const auto lessor = Filled(state.range(0));
  for (auto _ : state) lessor->Promote(0, kNanosPerSecond);
}
BENCHMARK(BM_Promote)->Arg(1'000)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void BM_AttachDetach(benchmark::State& state) {
  Lessor lessor(Lessor::Options{});
  lessor.Grant(LeaseId(1), 10);
  for (int64_t i = 0; i < state.range(0); ++i) {
    lessor.Attach(LeaseId(1), "/registry/events/event-" + std::to_string(i));
  }
  for (auto _ : state) {
    lessor.Attach(LeaseId(1), "/registry/events/event-5x");
    lessor.Detach(LeaseId(1), "/registry/events/event-5x");
  }
}
BENCHMARK(BM_AttachDetach)->Arg(0)->Arg(100'000);

void BM_Memory(benchmark::State& state) {
  constexpr int64_t kLeases = 100'000;
  for (auto _ : state) {
    const size_t before = mallinfo2().uordblks;
    const auto lessor = Filled(kLeases);
    const size_t after = mallinfo2().uordblks;
    state.counters["bytes_per_lease"] = static_cast<double>(after - before) / kLeases;
  }
}
BENCHMARK(BM_Memory)->Iterations(1);

}  // namespace
}  // namespace quorate::engine
