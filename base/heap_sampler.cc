#include "base/heap_sampler.h"

#include <execinfo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/text.h"

namespace quorate {
namespace {

constexpr int kFramesMax = 32;
// Of the sampler itself: Take, Count, and what stands before them.
constexpr int kOwnFrames = 2;
constexpr size_t kMarks = 1 << 16;

using Stack = std::vector<void*>;

struct Sums {
  uint64_t count = 0;
  uint64_t bytes = 0;
};
struct OfStack {
  Sums taken;
  Sums freed;
};

struct Sample {
  OfStack* stack;
  size_t size;
};

// Never destroyed: memory is freed until the very end of a process.
struct State {
  int64_t mean_bytes = 0;
  std::mutex mutex;
  std::map<Stack, OfStack> stacks;                  // under mutex, as are ...
  std::unordered_map<const void*, Sample> samples;  // ... those in use
  // How many samples of each share an address' mark: most frees see a zero and nothing else.
  std::array<std::atomic<uint32_t>, kMarks> marks{};
};

State& Of() {
  static State* const state = new State;
  return *state;
}

size_t MarkOf(const void* memory) {
  return static_cast<size_t>((reinterpret_cast<uintptr_t>(memory) >> 4) * 0x9e3779b97f4a7c15u >>
                             48);
}

// What the sampler itself allocates is not sampled.
thread_local bool inside = false;
struct Inside {
  Inside() { inside = true; }
  ~Inside() { inside = false; }
};

constexpr int64_t kNotDrawn = INT64_MIN;
thread_local int64_t bytes_left = kNotDrawn;

// Exponentially distributed: every byte is as likely to be met.
int64_t NextGap(int64_t mean_bytes) {
  thread_local Random random(reinterpret_cast<uintptr_t>(&bytes_left));
  return static_cast<int64_t>(-std::log(1 - random.Unit()) * static_cast<double>(mean_bytes)) + 1;
}

void Take(const void* memory, size_t size) {
  void* frames[kFramesMax];
  const int count = backtrace(frames, kFramesMax);
  Stack stack(frames + std::min(kOwnFrames, count), frames + count);
  State& state = Of();
  const std::lock_guard lock(state.mutex);
  OfStack& sums = state.stacks[std::move(stack)];
  ++sums.taken.count;
  sums.taken.bytes += size;
  state.samples[memory] = {&sums, size};
  state.marks[MarkOf(memory)].fetch_add(1, std::memory_order_release);
}

std::string SumsText(const Sums& in_use, const Sums& taken) {
  return StrCat(in_use.count, ": ", in_use.bytes, " [", taken.count, ": ", taken.bytes, "] @");
}

Sums InUse(const OfStack& sums) {
  return {sums.taken.count - sums.freed.count, sums.taken.bytes - sums.freed.bytes};
}

class Sampled final : public Allocator {
 public:
  explicit Sampled(std::unique_ptr<Allocator> inner) : inner_(std::move(inner)) {}

  void* Allocate(size_t size) override {
    void* const memory = inner_->Allocate(size);
    HeapSampler::OnAllocate(memory, size);
    return memory;
  }
  void Free(void* memory, size_t size) override {
    HeapSampler::OnFree(memory);
    inner_->Free(memory, size);
  }
  AllocatorStats Stats() const override { return inner_->Stats(); }
  std::string_view name() const override { return inner_->name(); }

 private:
  const std::unique_ptr<Allocator> inner_;
};

}  // namespace

std::atomic<bool> HeapSampler::on_{false};

void HeapSampler::Start(int64_t mean_bytes) {
  const Inside guard;
  Of().mean_bytes = mean_bytes;
  void* frame;
  backtrace(&frame, 1);  // loads what it needs, once
  on_.store(true);
}

void HeapSampler::Count(void* memory, size_t size) {
  if (inside) return;
  const bool drawn = bytes_left != kNotDrawn;
  if (drawn) bytes_left -= static_cast<int64_t>(size);
  if (drawn && bytes_left > 0) return;
  const Inside guard;
  bytes_left = NextGap(Of().mean_bytes);
  if (drawn) Take(memory, size);
}

void HeapSampler::Forget(void* memory) {
  State& state = Of();
  std::atomic<uint32_t>& mark = state.marks[MarkOf(memory)];
  if (inside || mark.load(std::memory_order_acquire) == 0) return;
  const Inside guard;
  const std::lock_guard lock(state.mutex);
  const auto found = state.samples.find(memory);
  if (found == state.samples.end()) return;
  ++found->second.stack->freed.count;
  found->second.stack->freed.bytes += found->second.size;
  state.samples.erase(found);
  mark.fetch_sub(1, std::memory_order_release);
}

std::string HeapSampler::Profile() {
  if (!on_.load()) return "";
  const Inside guard;
  State& state = Of();
  std::string rows;
  Sums in_use, taken;
  {
    const std::lock_guard lock(state.mutex);
    for (const auto& [stack, sums] : state.stacks) {
      const Sums here = InUse(sums);
      in_use = {in_use.count + here.count, in_use.bytes + here.bytes};
      taken = {taken.count + sums.taken.count, taken.bytes + sums.taken.bytes};
      StrAppend(&rows, SumsText(here, sums.taken));
      for (void* const frame : stack) {
        StrAppend(&rows, " 0x", HexText(reinterpret_cast<uintptr_t>(frame)));
      }
      rows.push_back('\n');
    }
  }
  std::ifstream maps("/proc/self/maps");
  return StrCat("heap profile: ", SumsText(in_use, taken), " heap_v2/", state.mean_bytes, "\n",
                rows, "\nMAPPED_LIBRARIES:\n",
                std::string(std::istreambuf_iterator<char>(maps), {}));
}

std::unique_ptr<Allocator> SampledAllocator(std::unique_ptr<Allocator> inner) {
  return std::make_unique<Sampled>(std::move(inner));
}

}  // namespace quorate
