// What a put costs in allocations once the engine runs evenly: none from the system under `arena`,
// and from the program's heap only what leaves the engine with the answer.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/allocator.h"
#include "base/sanitizer.h"
#include "engine/engine.h"
#include "proto/raft_internal.pb.h"

#if QUORATE_SANITIZED
#define QUORATE_HEAP_COUNTED 0  // a sanitizer has operator new for itself
#else
#define QUORATE_HEAP_COUNTED 1
#endif

namespace quorate::engine {
namespace {
std::atomic<uint64_t> heap_allocations{0};
}  // namespace
}  // namespace quorate::engine

#if QUORATE_HEAP_COUNTED
void* operator new(size_t size) {
  quorate::engine::heap_allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace quorate::engine {
namespace {

constexpr int kKeys = 1000;
constexpr uint64_t kPutsPerStep = 100;  // whose events leave together
constexpr int kRounds = 50'000;

// Takes everything and keeps nothing: the test is about the engine.
class NowhereBackend final : public kv::KvBackend {
 public:
  const kv::KvTraits& traits() const override { return traits_; }
  absl::Status Write(std::span<const kv::WriteOp>) override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::StatusOr<kv::ReclaimProgress> ReclaimStep() override { return kv::ReclaimProgress::kDone; }
  absl::Status Read(
      kv::Table, std::span<const std::string_view>,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)>) const override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> NewSnapshot() const override {
    class Empty final : public kv::KvSnapshot {
      absl::Status Scan(
          kv::Table, std::string_view, std::string_view,
          absl::FunctionRef<bool(std::string_view, std::string_view)>) const override {
        return absl::OkStatus();
      }
    };
    return std::make_unique<Empty>();
  }
  kv::KvSizes Sizes() const override { return {}; }

 private:
  const kv::KvTraits traits_{"nowhere", "keeps nothing"};
};

class Puts {
 public:
  Puts() {
    EngineOptions options;
    options.allocator = allocator_.get();
    engine_ = *Engine::Open(options, &backend_, [](uint64_t) {});
    engine_->SetHeader({ClusterId(~uint64_t{7}), MemberId(~uint64_t{5}), Term(1)});
    for (int i = 0; i < kKeys; ++i) {
      etcdserverpb::InternalRaftRequest request;
      request.mutable_put()->set_key("/registry/pods/default/pod-" + std::to_string(i));
      request.mutable_put()->set_value(std::string(256, 'v'));
      payloads_.push_back(Bytes::FromString(request.SerializeAsString()));
    }
    compaction_.mutable_compaction()->set_revision(1);
  }

  // Puts over the same keys, flushed as they fill chunks, compacted now and then.
  void Run(int count, Engine::Answer answer) {
    for (int i = 0; i < count; ++i) {
      Apply(payloads_[static_cast<size_t>(i % kKeys)], answer);
      if (i % kKeys == 0) Compact();
    }
  }
  void Apply(const Bytes& payload, Engine::Answer answer) {
    entry_.term = Term(1);
    entry_.index = engine_->applied_index().Next();
    entry_.data = payload;
    const uint64_t before = heap_allocations.load();
    const Reply reply = engine_->Apply(entry_, answer);
    in_apply_ += heap_allocations.load() - before;
    REQUIRE(reply.error.ok());
    if (++applied_ % kPutsPerStep == 0) engine_->TakeEvents();
    for (const auto& chunk : engine_->TakeSealed(Engine::Seal::kFullOnly)) {
      engine_->Flushed(chunk->sequence());
    }
  }
  void Compact() {
    if (engine_->current_revision() <= engine_->compact_revision()) return;
    compaction_.mutable_compaction()->set_revision(engine_->current_revision());
    Apply(Bytes::FromString(compaction_.SerializeAsString()), Engine::Answer::kNotWanted);
    while (engine_->CompactionPending()) engine_->CompactSlice(1000);
  }

  AllocatorStats stats() const { return allocator_->Stats(); }
  uint64_t TakeInApply() { return std::exchange(in_apply_, 0); }

 private:
  std::unique_ptr<Allocator> allocator_ = *CreateAllocator("arena", {});
  NowhereBackend backend_;
  std::unique_ptr<Engine> engine_;
  std::vector<Bytes> payloads_;
  etcdserverpb::InternalRaftRequest compaction_;
  Entry entry_;
  uint64_t in_apply_ = 0, applied_ = 0;
};

TEST_CASE("engine: puts that go on evenly take nothing from the system under arena") {
  Puts puts;
  puts.Run(kRounds, Engine::Answer::kWanted);  // to its working size
  const AllocatorStats before = puts.stats();
  puts.TakeInApply();
  puts.Run(kRounds, Engine::Answer::kWanted);
  const AllocatorStats after = puts.stats();
  CHECK(after.system_calls == before.system_calls);
  CHECK(after.bytes_reserved == before.bytes_reserved);
  CHECK(after.allocations > before.allocations);
#if QUORATE_HEAP_COUNTED
  // The bytes of the answer; where nobody waits for one, nothing but each step's list of events.
  CHECK(puts.TakeInApply() <= kRounds + kRounds / 8);
  puts.Run(kRounds, Engine::Answer::kNotWanted);
  CHECK(puts.TakeInApply() <= kRounds / 8);
#endif
}

}  // namespace
}  // namespace quorate::engine
