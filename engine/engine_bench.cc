// What one operation of the engine costs at a given number of keys, each backend flushed behind as
// in a server: applying a put and a transaction, counts, ranges of 1 and 1,000 keys, and opening.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/check.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/text.h"
#include "engine/engine.h"
#include "proto/raft_internal.pb.h"

namespace quorate::engine {
namespace {

constexpr size_t kValueBytes = 256;
constexpr int64_t kKeysOfALargeRange = 1000;

std::string KeyOf(int64_t number) {
  const std::string digits = std::to_string(number);
  return "/registry/pods/" + std::string(8 - digits.size(), '0') + digits;
}

class Store {
 public:
  Store(std::string_view backend, int64_t keys) : keys_(keys), value_(kValueBytes, 'v') {
    kv::KvOptions options;
    options.dir = folder_.path() + "/kv";
    options.env = PosixFileEnv();
    options.allocator = allocator_.get();
    backend_ = *kv::OpenKvBackend(backend, options);
    options_.allocator = allocator_.get();
    Open();
    for (int64_t i = 0; i < keys; ++i) Put(i);
    FlushAll();
  }

  void Open() {
    engine_.reset();
    engine_ = *Engine::Open(options_, backend_.get(), [](uint64_t) {});
    engine_->SetHeader({ClusterId(~uint64_t{7}), MemberId(~uint64_t{5}), Term(1)});
  }

  static Bytes Encoded(const etcdserverpb::InternalRaftRequest& request) {
    return Bytes::FromString(request.SerializeAsString());
  }
  Bytes PutOf(int64_t number) const {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_put()->set_key(KeyOf(number));
    request.mutable_put()->set_value(value_);
    return Encoded(request);
  }
  // As an API server writes: when the key is as it was read, put it, else read it again.
  Bytes TxnOf(int64_t number) const {
    etcdserverpb::InternalRaftRequest request;
    etcdserverpb::TxnRequest* txn = request.mutable_txn();
    etcdserverpb::Compare* compare = txn->add_compare();
    compare->set_key(KeyOf(number));
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_result(etcdserverpb::Compare::GREATER);
    txn->add_success()->mutable_request_put()->set_key(KeyOf(number));
    txn->mutable_success(0)->mutable_request_put()->set_value(value_);
    txn->add_failure()->mutable_request_range()->set_key(KeyOf(number));
    return Encoded(request);
  }

  void Put(int64_t number) { Apply(PutOf(number)); }
  void Apply(Bytes payload) {
    entry_.term = Term(1);
    entry_.index = engine_->applied_index().Next();
    entry_.data = std::move(payload);
    benchmark::DoNotOptimize(engine_->Apply(entry_, Engine::Answer::kWanted));
    engine_->TakeEvents();
  }
  void Flush(Engine::Seal seal) {
    for (const auto& chunk : engine_->TakeSealed(seal)) {
      QR_CHECK(backend_->Write(chunk->ops()).ok());
      engine_->Flushed(chunk->sequence());
    }
  }
  void FlushAll() {
    Flush(Engine::Seal::kNow);
    QR_CHECK(backend_->Sync().ok());
  }

  Engine& engine() { return *engine_; }
  int64_t AnyKey() { return static_cast<int64_t>(random_.Below(static_cast<uint64_t>(keys_))); }
  int64_t keys() const { return keys_; }

 private:
  const int64_t keys_;
  const std::string value_;
  Random random_{1};
  TempDir folder_;
  std::unique_ptr<Allocator> allocator_ = *CreateAllocator("arena", {});
  std::unique_ptr<kv::KvBackend> backend_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  Entry entry_;
};

// One store per backend and size for all benchmarks: filling a million keys takes seconds.
Store& Filled(benchmark::State& state) {
  static auto* stores = new std::map<std::pair<int64_t, int64_t>, std::unique_ptr<Store>>();
  std::unique_ptr<Store>& store = (*stores)[{state.range(0), state.range(1)}];
  const kv::KvBackendRow& row = kv::KvBackendRegistry()[static_cast<size_t>(state.range(0))];
  if (store == nullptr) store = std::make_unique<Store>(row.traits.name, state.range(1));
  state.SetLabel(std::string(row.traits.name));
  return *store;
}

constexpr int kBatch = 512;  // entries made outside of the measured time

template <class Make>
void ApplyAll(benchmark::State& state, Make make) {
  Store& store = Filled(state);
  std::vector<Bytes> payloads;
  while (state.KeepRunningBatch(kBatch)) {
    state.PauseTiming();
    payloads.clear();
    for (int i = 0; i < kBatch; ++i) payloads.push_back(make(store, store.AnyKey()));
    store.Flush(Engine::Seal::kFullOnly);
    state.ResumeTiming();
    for (Bytes& payload : payloads) store.Apply(std::move(payload));
  }
  store.FlushAll();
}

void BM_ApplyPut(benchmark::State& state) {
  ApplyAll(state, [](Store& store, int64_t key) { return store.PutOf(key); });
}

void BM_ApplyTxn(benchmark::State& state) {
  ApplyAll(state, [](Store& store, int64_t key) { return store.TxnOf(key); });
}

void BM_Count(benchmark::State& state) {
  Store& store = Filled(state);
  etcdserverpb::RangeRequest request;
  request.set_key("/");
  request.set_range_end("0");
  request.set_count_only(true);
  for (auto _ : state) benchmark::DoNotOptimize(store.engine().Range(request));
}

void BM_RangeOne(benchmark::State& state) {
  Store& store = Filled(state);
  etcdserverpb::RangeRequest request;
  for (auto _ : state) {
    request.set_key(KeyOf(store.AnyKey()));
    benchmark::DoNotOptimize(store.engine().Range(request));
  }
}

// About 300 KB: the whole way of a large answer, index and values.
void BM_RangeThousand(benchmark::State& state) {
  Store& store = Filled(state);
  etcdserverpb::RangeRequest request;
  request.set_range_end("0");
  request.set_limit(kKeysOfALargeRange);
  for (auto _ : state) {
    request.set_key(KeyOf(std::max<int64_t>(store.AnyKey() - kKeysOfALargeRange, 0)));
    auto result = store.engine().Range(request);
    auto& cursor = std::get<std::unique_ptr<RangeCursor>>(result);
    while (auto slice = cursor->NextSlice(64 << 10)) benchmark::DoNotOptimize(slice->Encode());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kKeysOfALargeRange);
}

void BM_Open(benchmark::State& state) {
  Store& store = Filled(state);
  store.FlushAll();
  for (auto _ : state) store.Open();
}

void OverBackends(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t keys : {10'000, 1'000'000}) {
    for (size_t row = 0; row < kv::KvBackendRegistry().size(); ++row) {
      benchmark->Args({static_cast<int64_t>(row), keys});
    }
  }
}

// What changes the stores comes last: the others see each key with one record.
BENCHMARK(BM_Open)->Apply(OverBackends)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Count)->Apply(OverBackends);
BENCHMARK(BM_RangeOne)->Apply(OverBackends);
BENCHMARK(BM_RangeThousand)->Apply(OverBackends)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_ApplyTxn)->Apply(OverBackends);
BENCHMARK(BM_ApplyPut)->Apply(OverBackends);

}  // namespace
}  // namespace quorate::engine
