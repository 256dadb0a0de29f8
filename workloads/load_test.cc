// Loads against a channel that answers when the test says so, under a clock that moves when the
// test says so: the accounting of due, sent and answered times is exact.
#include "workloads/load.h"

#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "proto/etcdserverpb.pb.h"

namespace quorate::workload {
namespace {

using transport::RpcCode;
using transport::RpcStatus;

constexpr int64_t kMs = kNanosPerMilli;

// Keeps every call until the test answers it.
class HeldChannel : public transport::Channel {
 public:
  struct Held {
    std::string path;
    Bytes request;
    UnaryCallback done;
  };

  void Call(std::string_view path, Bytes request, int64_t, const transport::MetadataList&,
            UnaryCallback done) override {
    if (answer_at_once) return done({}, Answer(path));
    held.push_back({std::string(path), std::move(request), std::move(done)});
    most_held = std::max(most_held, held.size());
  }
  std::unique_ptr<transport::ClientStream> Open(std::string_view, const transport::MetadataList&,
                                                transport::ClientStreamHandler*) override {
    return nullptr;
  }
  bool connected() const override { return true; }

  void AnswerFirst(RpcStatus status = {}) {
    Held call = std::move(held.front());
    held.pop_front();
    Bytes answer = status.ok() ? Answer(call.path) : Bytes();
    call.done(std::move(status), std::move(answer));
  }

  std::deque<Held> held;
  size_t most_held = 0;
  bool answer_at_once = false;

 private:
  Bytes Answer(std::string_view path) {
    if (path == kPutPath) {
      etcdserverpb::PutResponse put;
      put.mutable_header()->set_revision(++revision_);
      return Bytes::FromString(put.SerializeAsString());
    }
    etcdserverpb::RangeResponse range;
    range.mutable_header()->set_revision(revision_);
    return Bytes::FromString(range.SerializeAsString());
  }
  int64_t revision_ = 1;
};

struct Bench {
  explicit Bench(LoadSpec spec, OpType op = OpType::kPut) {
    workload.key_spaces = {{.name = "k", .prefix = "k", .count = 100}};
    OperationSpec operation;
    operation.type = op;
    operation.name = "op";
    spec.operations = {operation};
    workload.phases.resize(1);
    workload.phases[0].loads = {spec};
    model = std::make_unique<Model>(workload, 1, &checks);
    model->Begin(1);
    shared = std::make_unique<SharedLoad>(spec);
  }

  LoadContext Context() {
    LoadContext context;
    context.clock = &clock;
    context.model = model.get();
    context.board = &board;
    context.shared = shared.get();
    context.channels = {&channel};
    context.clients = workload.phases[0].loads[0].clients;
    context.interval_ns = 10 * kMs;
    return context;
  }
  std::unique_ptr<LoadRunner> Make(LoadContext context) {
    return std::make_unique<LoadRunner>(workload.phases[0].loads[0], std::move(context));
  }

  // Polls at every time the runner asks for, up to and including `until_ns` after the start.
  void RunTo(LoadRunner* runner, int64_t until_ns) {
    while (true) {
      const int64_t next = runner->Poll(clock.MonotonicNs());
      const int64_t limit = start_ns + until_ns;
      if (next > limit) {
        clock.AdvanceNs(limit - clock.MonotonicNs());
        runner->Poll(clock.MonotonicNs());
        return;
      }
      clock.AdvanceNs(std::max<int64_t>(0, next - clock.MonotonicNs()));
    }
  }

  Workload workload;
  CheckLog checks;
  std::unique_ptr<Model> model;
  ManualClock clock;
  ProgressBoard board;
  HeldChannel channel;
  std::unique_ptr<SharedLoad> shared;
  const int64_t start_ns = clock.MonotonicNs();
};

LoadSpec Open(double rate, int64_t clients) {
  LoadSpec spec;
  spec.rate = rate;
  spec.clients = clients;
  return spec;
}

LoadSpec Closed(int64_t clients, int64_t count = 0) {
  LoadSpec spec;
  spec.loop = Loop::kClosed;
  spec.clients = clients;
  spec.count = count;
  return spec;
}

TEST_CASE("open loop: a stall is charged to every operation that was due in it") {
  Bench bench(Open(1000, 1));  // one due each millisecond, one client
  auto runner = bench.Make(bench.Context());
  runner->Start(bench.start_ns, bench.start_ns + 200 * kMs);
  bench.RunTo(runner.get(), 0);
  REQUIRE(bench.channel.held.size() == 1);
  // The server is silent for 100 ms, then answers everything at once.
  bench.RunTo(runner.get(), 100 * kMs);
  REQUIRE(bench.channel.held.size() == 1);
  bench.channel.answer_at_once = true;
  bench.channel.AnswerFirst();
  bench.RunTo(runner.get(), 200 * kMs);
  REQUIRE(runner->Finished(bench.clock.MonotonicNs()));
  const LoadRecord record = runner->TakeRecord();
  CHECK(record.issued == 200);
  CHECK(record.unsent == 0);
  CHECK(record.waited_for_client == 99);  // those due at 1..99 ms; that of 100 ms had its client
  const OperationRecord& op = record.operations[0];
  CHECK(op.ok == 200);
  // Latency: 100, 99, ..., 1 ms for those due in the stall, 0 for the others.
  CHECK(op.latency.max_ns() == 100 * kMs);
  CHECK(op.latency.sum_ns() == 5050 * kMs);
  CHECK(op.latency.QuantileNs(0.5) < kMs);
  CHECK(op.latency.QuantileNs(0.75) == Approx(50 * kMs).epsilon(0.03));
  // Service time, which the wrong kind of benchmark reports: one slow call, 199 that took nothing.
  CHECK(op.service.sum_ns() == 100 * kMs);
  CHECK(op.service.QuantileNs(0.99) < kMs);
}

TEST_CASE("open loop: what was due and never sent is counted") {
  Bench bench(Open(1000, 10));
  auto runner = bench.Make(bench.Context());
  runner->Start(bench.start_ns, bench.start_ns + 1000 * kMs);
  bench.RunTo(runner.get(), 1500 * kMs);
  CHECK(bench.channel.held.size() == 10);
  CHECK_FALSE(runner->Finished(bench.clock.MonotonicNs()));
  while (!bench.channel.held.empty()) bench.channel.AnswerFirst();
  CHECK(runner->Finished(bench.clock.MonotonicNs()));
  const LoadRecord record = runner->TakeRecord();
  CHECK(record.issued == 10);
  CHECK(record.unsent == 990);
  CHECK(record.oldest_unsent_ns == 990 * kMs);
}

TEST_CASE("open loop: shares of a load are due in turn, and together at the rate") {
  Bench bench(Open(1000, 4));
  bench.channel.answer_at_once = true;
  int64_t issued = 0;
  for (int64_t share = 0; share < 3; ++share) {
    LoadContext context = bench.Context();
    context.share = share;
    context.shares = 3;
    auto runner = bench.Make(context);
    const int64_t now_ns = bench.clock.MonotonicNs();
    runner->Start(now_ns, now_ns + 30 * kMs);
    runner->Poll(now_ns);
    const int64_t first_due = runner->Poll(now_ns) - now_ns;
    CHECK(first_due == (share == 0 ? 3 * kMs : share * kMs));
    bench.clock.AdvanceNs(30 * kMs - 1);
    runner->Poll(bench.clock.MonotonicNs());
    bench.clock.AdvanceNs(1);
    const LoadRecord record = runner->TakeRecord();
    CHECK(record.unsent == 0);
    issued += record.issued;
  }
  CHECK(issued == 30);
}

TEST_CASE("open loop: Poisson arrivals keep the rate and follow the seed") {
  const auto dues = [](uint64_t seed) {
    LoadSpec spec = Open(1000, 1);
    spec.arrivals = Arrivals::kPoisson;
    Bench bench(spec);
    bench.channel.answer_at_once = true;
    LoadContext context = bench.Context();
    context.seed = seed;
    auto runner = bench.Make(context);
    runner->Start(bench.start_ns, bench.start_ns + 10'000 * kMs);
    std::vector<int64_t> times;
    for (int64_t next = 0; (next = runner->Poll(bench.clock.MonotonicNs())) != INT64_MAX;) {
      times.push_back(next - bench.start_ns);
      bench.clock.AdvanceNs(next - bench.clock.MonotonicNs());
    }
    runner->TakeRecord();
    return times;
  };
  const auto first = dues(1);
  CHECK(std::abs(static_cast<int64_t>(first.size()) - 10'000) < 600);
  CHECK(first == dues(1));
  CHECK(first != dues(2));
  int short_gaps = 0;
  for (size_t i = 1; i < first.size(); ++i) short_gaps += first[i] - first[i - 1] < kMs / 2;
  CHECK(short_gaps / static_cast<double>(first.size()) == Approx(0.393).margin(0.03));
}

TEST_CASE("closed loop: as many outstanding as clients, the next after the answer") {
  Bench bench(Closed(5));
  auto runner = bench.Make(bench.Context());
  runner->Start(bench.start_ns, bench.start_ns + 100 * kMs);
  bench.RunTo(runner.get(), 0);
  CHECK(bench.channel.held.size() == 5);
  for (int i = 0; i < 20; ++i) {
    bench.clock.AdvanceNs(kMs);
    bench.channel.AnswerFirst();
    CHECK(bench.channel.held.size() == 5);
  }
  CHECK(bench.channel.most_held == 5);
  bench.RunTo(runner.get(), 100 * kMs);
  while (!bench.channel.held.empty()) bench.channel.AnswerFirst();
  REQUIRE(runner->Finished(bench.clock.MonotonicNs()));
  const LoadRecord record = runner->TakeRecord();
  CHECK(record.issued == 25);
  CHECK(record.operations[0].latency.sum_ns() == record.operations[0].service.sum_ns());
}

TEST_CASE("a count is done exactly, also by several threads together") {
  Bench bench(Closed(3, 100));
  bench.channel.answer_at_once = true;
  auto first = bench.Make(bench.Context());
  auto second = bench.Make(bench.Context());
  first->Start(bench.start_ns, INT64_MAX);
  second->Start(bench.start_ns, INT64_MAX);
  bench.channel.answer_at_once = false;
  first->Poll(bench.clock.MonotonicNs());
  second->Poll(bench.clock.MonotonicNs());
  while (!bench.channel.held.empty()) bench.channel.AnswerFirst();
  CHECK(first->Finished(bench.clock.MonotonicNs()));
  CHECK(second->Finished(bench.clock.MonotonicNs()));
  const LoadRecord a = first->TakeRecord();
  const LoadRecord b = second->TakeRecord();
  CHECK(a.issued + b.issued == 100);
  CHECK(a.issued > 0);
  CHECK(b.issued > 0);
}

TEST_CASE("errors are counted apart, by code and text, and their times are not kept") {
  Bench bench(Closed(1));
  auto runner = bench.Make(bench.Context());
  runner->Start(bench.start_ns, bench.start_ns + 1000 * kMs);
  bench.RunTo(runner.get(), 0);
  bench.clock.AdvanceNs(kMs);
  bench.channel.AnswerFirst({RpcCode::kUnavailable, "gone"});
  CHECK(bench.channel.held.empty());  // a pause first, not a storm
  CHECK(runner->Poll(bench.clock.MonotonicNs()) ==
        bench.clock.MonotonicNs() + LoadRunner::kPauseAfterErrorNs);
  bench.RunTo(runner.get(), 60 * kMs);
  REQUIRE(bench.channel.held.size() == 1);
  bench.channel.AnswerFirst({RpcCode::kResourceExhausted, "etcdserver: mvcc: database space"});
  bench.RunTo(runner.get(), 120 * kMs);
  bench.channel.AnswerFirst();
  bench.RunTo(runner.get(), 1000 * kMs);
  while (!bench.channel.held.empty()) bench.channel.AnswerFirst();
  const LoadRecord record = runner->TakeRecord();
  const OperationRecord& op = record.operations[0];
  CHECK(op.error_count() == 2);
  CHECK(op.errors.at("Unavailable: gone") == 1);
  CHECK(op.ok == op.latency.count());
  CHECK(op.ok == 2);
  // Only the first may have happened on the server.
  CHECK(bench.model->unknown_writes() == 1);
  CHECK(bench.checks.violations() == 0);
}

TEST_CASE("a warm-up is counted and verified, its times are not kept") {
  Bench bench(Closed(2, 50));
  bench.channel.answer_at_once = true;
  LoadContext context = bench.Context();
  context.keep_times = KeepTimes::kNo;
  auto runner = bench.Make(context);
  runner->Start(bench.start_ns, INT64_MAX);
  runner->Poll(bench.clock.MonotonicNs());
  const LoadRecord record = runner->TakeRecord();
  CHECK(record.operations[0].ok == 50);
  CHECK(record.operations[0].latency.count() == 0);
  CHECK(record.operations[0].series.empty());
  CHECK(bench.checks.passed(Check::kRevision) > 0);
}

TEST_CASE("the series has a step per interval, by when the answer came") {
  Bench bench(Closed(1));
  auto runner = bench.Make(bench.Context());  // 10 ms steps
  runner->Start(bench.start_ns, bench.start_ns + 100 * kMs);
  bench.RunTo(runner.get(), 0);
  for (const int64_t gap : {4, 4, 4, 30, 4}) {
    bench.clock.AdvanceNs(gap * kMs);
    bench.channel.AnswerFirst();
  }
  bench.RunTo(runner.get(), 100 * kMs);
  while (!bench.channel.held.empty()) bench.channel.AnswerFirst();
  const auto series = runner->TakeRecord().operations[0].series;
  REQUIRE(series.size() == 4);
  CHECK((series[0].index == 0 && series[0].count() == 2));
  CHECK((series[1].index == 1 && series[1].count() == 1));
  CHECK((series[2].index == 4 && series[2].count() == 2 && series[2].max_ns == 30 * kMs));
  CHECK(series[2].QuantileNs(0.5) == Approx(4 * kMs).epsilon(0.02));
  CHECK(series[3].index == 10);
}

TEST_CASE("an operation's share follows its weight") {
  Bench bench(Closed(1, 10'000), OpType::kGet);
  LoadSpec& spec = bench.workload.phases[0].loads[0];
  spec.operations.resize(3, spec.operations[0]);
  spec.operations[0].weight = 0;
  spec.operations[1].weight = 3;
  spec.operations[2].weight = 1;
  bench.shared = std::make_unique<SharedLoad>(spec);
  bench.channel.answer_at_once = true;
  auto runner = bench.Make(bench.Context());
  runner->Start(bench.start_ns, INT64_MAX);
  runner->Poll(bench.clock.MonotonicNs());
  const LoadRecord record = runner->TakeRecord();
  CHECK(record.operations[0].ok == 0);
  CHECK(record.operations[1].ok == Approx(7500).margin(300));
  CHECK(record.operations[1].ok + record.operations[2].ok == 10'000);
  CHECK(bench.checks.violations() == 0);
}

}  // namespace
}  // namespace quorate::workload
