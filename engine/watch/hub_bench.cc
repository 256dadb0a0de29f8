// What the live path costs per event delivered, and what an idle watch costs in memory.
//   per_event        time of Publish over the events it delivered
//   bytes_per_watch  heap growth of the hub per idle watch
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/watch/hub.h"

namespace quorate::engine {
namespace {

class BenchStore final : public WatchStore, public RecordReader {
 public:
  int64_t CurrentRevision() const override { return current; }
  int64_t CompactRevision() const override { return -1; }
  HeaderFields Header() const override {
    return {ClusterId(0x1234567890abcdef), MemberId(0xfedcba0987654321), Term(2)};
  }
  const RecordReader& Records() const override { return *this; }
  std::optional<RecordRef> LiveBefore(std::string_view, int64_t) const override {
    return std::nullopt;
  }
  absl::Status Read(
      std::span<const RecordRef> refs,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override {
    for (size_t i = 0; i < refs.size(); ++i) visitor(i, std::string_view(previous));
    return absl::OkStatus();
  }
  int64_t current = 1;
  std::string previous = std::string(300, 'p');
};

class DroppingSink final : public WatchSink {
 public:
  void Send(WatchStreamId, std::vector<Bytes> pieces) override {
    benchmark::DoNotOptimize(pieces.data());
  }
  bool HasRoom(WatchStreamId) const override { return true; }
};

// `watchers` on one stream each or all on one, watching what `key_of` says.
struct Setup {
  enum class Streams { kOne, kOneEach };
  template <class KeyOf>
  Setup(int64_t watchers, Streams streams, bool prev_kv, KeyOf key_of) : hub({}, &store, &sink, 1) {
    for (int64_t i = 0; i < watchers; ++i) {
      const WatchStreamId stream = streams == Streams::kOne ? 1 : static_cast<uint64_t>(i + 1);
      if (i == 0 || streams == Streams::kOneEach) hub.OpenStream(stream);
      etcdserverpb::WatchRequest request;
      auto* create = request.mutable_create_request();
      const auto [key, end] = key_of(i);
      create->set_key(key);
      create->set_range_end(end);
      create->set_prev_kv(prev_kv);
      hub.Request(stream, request);
    }
  }

  void Publish(const std::string& key) {
    auto batch = std::make_shared<EventBatch>();
    batch->revision = ++store.current;
    Event event;
    event.record.revision = {batch->revision, 0};
    event.key = key;
    event.kv = value;
    event.previous = RecordRef{{1, 0}, 300, RecordKind::kPut};
    batch->events.push_back(event);
    hub.Publish(batch);
  }

  BenchStore store;
  DroppingSink sink;
  WatchHub hub;
  std::string value = std::string(300, 'v');
};

std::string Key(int64_t i) { return "/registry/pods/namespace-7/pod-" + std::to_string(i); }

using Interval = std::pair<std::string, std::string>;

void Report(benchmark::State& state, const Setup& setup) {
  const auto events = static_cast<double>(setup.hub.counters().events_sent);
  state.counters["per_event"] =
      benchmark::Counter(events, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["events_per_publish"] = events / static_cast<double>(state.iterations());
}

void BM_NobodyWatchesTheKey(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOneEach, false,
              [](int64_t i) { return Interval(Key(i), ""); });
  for (auto _ : state) setup.Publish("elsewhere");
}
BENCHMARK(BM_NobodyWatchesTheKey)->Arg(1'000)->Arg(100'000);

void BM_SingleKeysOneHit(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOneEach, false,
              [](int64_t i) { return Interval(Key(i), ""); });
  int64_t i = 0;
  for (auto _ : state) setup.Publish(Key((i += 7919) % state.range(0)));
  Report(state, setup);
}
BENCHMARK(BM_SingleKeysOneHit)->Arg(1'000)->Arg(100'000);

void BM_OneKeyAllHit(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOneEach, state.range(1) != 0,
              [](int64_t) { return Interval(Key(0), ""); });
  for (auto _ : state) setup.Publish(Key(0));
  Report(state, setup);
}
BENCHMARK(BM_OneKeyAllHit)->ArgNames({"", "prev_kv"})->ArgsProduct({{1'000, 100'000}, {0, 1}});

void BM_OneKeyAllHitOneStream(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOne, false,
              [](int64_t) { return Interval(Key(0), ""); });
  for (auto _ : state) setup.Publish(Key(0));
  Report(state, setup);
}
BENCHMARK(BM_OneKeyAllHitOneStream)->Arg(1'000)->Arg(100'000);

// Distinct prefixes of 1 to 100 keys each, nested in a few common ones.
void BM_PrefixesFewHit(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOneEach, false, [](int64_t i) {
    const std::string begin = "/registry/" + std::to_string(i) + "/";
    std::string end = begin;
    ++end.back();
    return Interval(i % 250 == 0 ? "/registry/" : begin, i % 250 == 0 ? "/registry0" : end);
  });
  int64_t i = 0;
  for (auto _ : state) {
    setup.Publish("/registry/" + std::to_string((i += 7919) % state.range(0)) + "/x");
  }
  Report(state, setup);
}
BENCHMARK(BM_PrefixesFewHit)->Arg(1'000)->Arg(100'000);

void BM_OnePrefixAllHit(benchmark::State& state) {
  Setup setup(state.range(0), Setup::Streams::kOneEach, false,
              [](int64_t) { return Interval("/registry/", "/registry0"); });
  for (auto _ : state) setup.Publish(Key(0));
  Report(state, setup);
}
BENCHMARK(BM_OnePrefixAllHit)->Arg(1'000)->Arg(100'000);

class BenchHistory final : public HistoryReader {
 public:
  absl::Status Scan(
      int64_t first_main, int64_t last_main,
      absl::FunctionRef<bool(const RecordRef&, std::string_view)> visitor) const override {
    for (int64_t main = first_main; main <= last_main; ++main) {
      mvccpb::KeyValue kv;
      kv.set_key(Key(main % 100));
      kv.set_create_revision(1);
      kv.set_mod_revision(main);
      kv.set_value(std::string(256, 'v'));
      if (!visitor({{main, 0}, 300, RecordKind::kPut}, kv.SerializeAsString())) break;
    }
    return absl::OkStatus();
  }
};

// All watches come back at an old revision: one key each, or all the same prefix.
void BM_CatchUp(benchmark::State& state) {
  const BenchHistory history;
  const bool prefix = state.range(1) != 0;
  Setup setup(0, Setup::Streams::kOne, false, [](int64_t) { return Interval(); });
  for (int i = 0; i < 1000; ++i) setup.Publish("unwatched");
  WatchStreamId stream = 0;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) {
      etcdserverpb::WatchRequest request;
      auto* create = request.mutable_create_request();
      create->set_key(prefix ? "/registry/" : Key(i));
      if (prefix) create->set_range_end("/registry0");
      create->set_start_revision(2);
      setup.hub.OpenStream(++stream);
      setup.hub.Request(stream, request);
    }
    for (auto jobs = setup.hub.TakeJobs(); !jobs.empty(); jobs = setup.hub.TakeJobs()) {
      for (auto& job : jobs) {
        job->Run(history);
        setup.hub.Finish(std::move(job));
      }
    }
    for (int64_t i = 0; i < state.range(0); ++i) {
      setup.hub.CloseStream(stream - static_cast<WatchStreamId>(i));
    }
  }
  Report(state, setup);
}
BENCHMARK(BM_CatchUp)
    ->ArgNames({"", "prefix"})
    ->ArgsProduct({{1'000, 10'000}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

void BM_IdleMemory(benchmark::State& state) {
  const auto streams = state.range(0) == 0 ? Setup::Streams::kOne : Setup::Streams::kOneEach;
  constexpr int64_t kWatchers = 100'000;
  for (auto _ : state) {
    const size_t before = mallinfo2().uordblks;
    const Setup setup(kWatchers, streams, false, [](int64_t i) { return Interval(Key(i), ""); });
    const size_t after = mallinfo2().uordblks;
    state.counters["bytes_per_watch"] = static_cast<double>(after - before) / kWatchers;
  }
}
BENCHMARK(BM_IdleMemory)->ArgName("stream_each")->Arg(0)->Arg(1)->Iterations(1);

}  // namespace
}  // namespace quorate::engine
