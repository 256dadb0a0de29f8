// Whole runs against a store in process: a right store passes every check, and each kind of wrong
// answer makes the run void.
#include "workloads/driver.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/text.h"
#include "workloads/fake_etcd.h"
#include "workloads/language.h"
#include "workloads/result.h"

namespace quorate::workload {
namespace {

constexpr char kEverything[] = R"(name: everything
interval: 10ms
keys:
  - {name: a, prefix: /a/, count: 40, groups: 4}
  - {name: b, prefix: /b/, count: 40}
phases:
  - name: fill
    measure: false
    loop: closed
    count: 40
    clients: 4
    operations: [{op: put, keys: a, distribution: sequential, value: 64B}]
  - name: run
    watch_timeout: 200ms
    loads:
      - name: writes
        loop: closed
        count: 1500
        clients: 4
        connections: 2
        leases: 2
        operations:
          - {op: put, keys: a, value: 64B..128B, weight: 4}
          - {op: put, name: put-prev, keys: a, value: 64B, prev_kv: true}
          - {op: txn, keys: b, value: 64B, weight: 4, distribution: hot}
          - {op: txn, name: remove, keys: b, value: 64B, remove: true}
          - {op: delete, keys: b, prev_kv: true}
          - {op: put, name: leased, keys: a, value: 64B, lease: true}
          - {op: lease-grant}
          - {op: lease-keepalive}
          - {op: lease-revoke}
      - name: reads
        loop: closed
        count: 600
        clients: 3
        own_thread: true
        operations:
          - {op: get, keys: a, weight: 4}
          - {op: get, name: get-local, keys: b, consistency: serializable}
          - {op: list, keys: a, scope: group}
          - {op: list, name: list-limited, keys: b, scope: all, limit: 7}
          - {op: list, name: list-keys, keys: a, scope: slice, slice: 15, keys_only: true}
          - {op: count, keys: a, scope: all}
    watchers:
      - {name: each, keys: a, count: 40, streams: 4, connections: 2, scope: key}
      - {name: groups, keys: a, count: 4, scope: group, prev_kv: true}
      - {name: all, keys: b, count: 2, streams: 2, connections: 2, scope: all, prev_kv: true}
    schedule:
      - {do: compact, at: 0s, retain: 5}
  # Whatever the threads did above: here are reads of keys whose last change is long known.
  - name: reads
    loop: closed
    count: 200
    operations:
      - {op: get, keys: a}
      - {op: list, keys: a, scope: group}
      - {op: count, keys: a, scope: all}
)";

struct Ran {
  RunResult result;
  std::string summary;
  nlohmann::json json;
  bool struck = false;
};

Ran RunAgainst(Planted planted, const std::string& text, int64_t threads = 1) {
  static const SystemClock clock;
  const auto workload = ParseWorkload(text, "test.yaml", {});
  REQUIRE(workload.status().message() == "");
  FakeEtcd etcd(planted);
  DriverOptions options;
  options.endpoints = {"in-process"};
  options.threads = threads;
  options.clock = &clock;
  options.factory = etcd.Factory();
  auto driver = Driver::Create(*workload, std::move(options));
  REQUIRE(driver.ok());
  Ran ran;
  ran.result = (*driver)->Run();
  ran.summary = SummaryText((*driver)->workload(), ran.result, (*driver)->checks());
  ran.json =
      nlohmann::json::parse(ResultJson((*driver)->workload(), ran.result, (*driver)->checks()));
  driver->reset();
  ran.struck = etcd.struck();
  return ran;
}

TEST_CASE("a right store passes every check of a run with everything in it") {
  const Ran ran = RunAgainst(Planted::kNothing, kEverything, GENERATE(1, 3));
  CAPTURE(ran.summary);
  REQUIRE(ran.result.outcome == RunResult::Outcome::kComplete);
  REQUIRE(ran.result.phases.size() == 3);
  const PhaseRecord& run = ran.result.phases[1];
  REQUIRE(run.loads.size() == 2);
  CHECK(run.loads[0].issued == 1500);
  for (const LoadRecord& load : run.loads) {
    for (const OperationRecord& op : load.operations) {
      CAPTURE(op.name);
      CHECK(op.ok > 0);
      CHECK(op.error_count() == 0);
    }
  }
  REQUIRE(run.watchers.size() == 3);
  // Every put of `a` reaches the watch of its key and that of its group.
  CHECK(run.watchers[0].events == run.watchers[1].events);
  CHECK(run.watchers[0].events > 300);
  CHECK(run.watchers[2].deletes > 0);
  CHECK(ran.result.final_keys_checked >= 40);
  CHECK(ran.json["outcome"] == "complete");
  CHECK(ran.json["checks"]["violations"] == 0);
  for (const char* check : {"revision", "value", "freshness", "range", "txn", "lease",
                            "watch-order", "watch-complete", "final"}) {
    CAPTURE(check);
    CHECK(ran.json["checks"]["performed"][check]["passed"] > 0);
  }
}

TEST_CASE("each wrong answer makes the run void") {
  struct Case {
    Planted planted;
    const char* check;  // that must find it
  };
  const Case c = GENERATE(
      Case{Planted::kLosesEvent, "watch-"},  //
      Case{Planted::kLosesLastEvent, "watch-complete"}, Case{Planted::kRepeatsEvent, "watch-order"},
      Case{Planted::kReordersEvents, "watch-order"}, Case{Planted::kEventOfOtherKey, "watch-order"},
      Case{Planted::kEventValueOld, "revision"}, Case{Planted::kWrongPrevKv, "value"},
      Case{Planted::kValueOfOtherKey, "value"}, Case{Planted::kDamagedValue, "value"},
      Case{Planted::kStaleGet, "freshness"}, Case{Planted::kGetFindsNothing, "freshness"},
      Case{Planted::kStaleHeader, "freshness"}, Case{Planted::kLosesWrite, "watch-complete"},
      Case{Planted::kRevisionTwice, "revision"}, Case{Planted::kRevisionGoesBack, "revision"},
      Case{Planted::kListLeavesOut, "freshness"}, Case{Planted::kListOutOfOrder, "range"},
      Case{Planted::kListWrongCount, "range"}, Case{Planted::kWrongCount, "range"},
      Case{Planted::kTxnIgnoresGuard, "txn"}, Case{Planted::kTxnRefuses, "txn"},
      Case{Planted::kLeaseShort, "lease"}, Case{Planted::kLeaseLost, "lease"},
      Case{Planted::kGarbage, "decode"});
  const Ran ran = RunAgainst(c.planted, kEverything);
  CAPTURE(c.check, static_cast<int>(c.planted), ran.summary);
  REQUIRE(ran.struck);
  CHECK(ran.result.outcome == RunResult::Outcome::kVoid);
  CHECK(ran.summary.find(StrCat("WRONG  ", c.check)) != std::string::npos);
  CHECK(ran.summary.find("void") != std::string::npos);
  CHECK(ran.json["outcome"] == "void");
  CHECK(ran.json["checks"]["first_violations"].size() > 0);
}

TEST_CASE("a write that is lost without a watch is found when everything is read back") {
  const Ran ran = RunAgainst(Planted::kLosesWrite,
                             "name: quiet\nkeys: [{name: a, prefix: /a/, count: 100}]\nphases:\n"
                             "  - {name: w, loop: closed, count: 150, operations: "
                             "[{op: put, keys: a, distribution: sequential, value: 64B}]}\n");
  CAPTURE(ran.summary);
  CHECK(ran.struck);
  CHECK(ran.result.outcome == RunResult::Outcome::kVoid);
  CHECK(ran.summary.find("WRONG  final") != std::string::npos);
}

TEST_CASE("an interrupted run ends cleanly, is checked, and says partial") {
  static const SystemClock clock;
  const auto workload = ParseWorkload(
      "name: long\ninterval: 20ms\nkeys: [{name: a, prefix: /a/}]\nphases:\n"
      "  - {name: w, duration: 1h, loop: closed, operations: [{op: put, keys: a}],\n"
      "     watchers: [{keys: a}]}\n"
      "  - {name: never, duration: 1h, loop: closed, operations: [{op: put, keys: a}]}\n",
      "test.yaml", {});
  REQUIRE(workload.ok());
  FakeEtcd etcd(Planted::kNothing);
  DriverOptions options;
  options.endpoints = {"in-process"};
  options.clock = &clock;
  options.factory = etcd.Factory();
  options.progress_every_ns = 1;
  Driver* running = nullptr;
  options.on_progress = [&](const ProgressLine& line) {
    if (line.step.ok > 0) running->Interrupt();
  };
  auto driver = Driver::Create(*workload, std::move(options));
  REQUIRE(driver.ok());
  running = driver->get();
  const RunResult result = running->Run();
  CHECK(result.outcome == RunResult::Outcome::kPartial);
  REQUIRE(result.phases.size() == 1);
  CHECK(result.phases[0].loads[0].operations[0].latency.count() > 0);
  CHECK(result.phases[0].watchers[0].events ==
        static_cast<uint64_t>(result.phases[0].loads[0].issued));
  CHECK(result.final_keys_checked > 0);
}

TEST_CASE("the result holds raw histograms and a row for every step, and no zero for a gap") {
  const Ran ran = RunAgainst(Planted::kNothing, kEverything);
  const auto& phases = ran.json["phases"];
  REQUIRE(phases.size() == 3);
  CHECK(phases[0]["measured"] == false);
  CHECK_FALSE(phases[0]["loads"][0]["operations"][0].contains("latency"));
  const auto& put = phases[1]["loads"][0]["operations"][0];
  uint64_t sum = 0;
  for (const auto& bucket : put["latency"]["buckets"]) sum += bucket[1].get<uint64_t>();
  CHECK(sum == put["latency"]["count"]);
  CHECK(sum == put["ok"]);
  uint64_t in_series = 0;
  int64_t step = 0;
  for (const auto& row : put["series"]) {
    CHECK(row["t_ns"] == step * 10'000'000);
    CHECK(row.contains("p99_ns") == (row["count"] > 0));
    in_series += row["count"].get<uint64_t>();
    ++step;
  }
  CHECK(in_series == sum);
  REQUIRE(phases[1]["schedule"].size() == 1);
  CHECK(phases[1]["schedule"][0]["kind"] == "compact");
  const auto again = ParseWorkload(ran.json["workload"]["effective"].get<std::string>(), "x", {});
  CHECK(again.ok());
}

TEST_CASE("a server that is not there is named, and nothing else is claimed") {
  static const SystemClock clock;
  const auto workload = ParseWorkload(
      "name: x\nkeys: [{name: a, prefix: /a/}]\nphases:\n"
      "  - {name: w, duration: 1s, rate: 10/s, operations: [{op: put, keys: a}]}\n",
      "test.yaml", {});
  REQUIRE(workload.ok());
  DriverOptions options;
  options.endpoints = {"127.0.0.1:1"};  // nobody listens there
  options.clock = &clock;
  auto driver = Driver::Create(*workload, options);
  REQUIRE(driver.ok());
  const RunResult result = (*driver)->Run();
  CHECK(result.outcome == RunResult::Outcome::kFailed);
  CHECK(result.error.find("127.0.0.1:1") != std::string::npos);
  CHECK(result.phases.empty());

  options.endpoints = {"not an endpoint"};
  CHECK_FALSE(Driver::Create(*workload, options).ok());
}

}  // namespace
}  // namespace quorate::workload
