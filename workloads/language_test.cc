#include "workloads/language.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/text.h"

namespace quorate::workload {
namespace {

constexpr char kGood[] = R"(name: example
description: what it asks
parameters:
  rate: 100
  value: 256B
keys:
  - {name: pods, prefix: /pods/, count: 100, size: 32B, groups: 10}
  - {name: nodes, prefix: /nodes/, count: 5}
phases:
  - name: fill
    measure: false
    loop: closed
    clients: 4
    count: 100
    operations:
      - {op: put, keys: pods, distribution: sequential, value: $(value)}  # $(unknown) in a comment
  - name: run
    duration: 2s
    loads:
      - name: writes
        rate: $(rate)/s
        clients: 10
        connections: 2
        operations:
          - {op: put, keys: pods, value: 64B..1KiB, weight: 3}
          - {op: txn, keys: nodes, distribution: zipf, theta: 1.2}
      - name: reads
        loop: closed
        operations:
          - {op: list, keys: pods, scope: slice, slice: 20, limit: 10}
    watchers:
      - {keys: pods, count: 10, streams: 2, scope: group, prev_kv: true}
    schedule:
      - {do: compact, every: 500ms, retain: 10, physical: true}
      - {do: defragment, at: 1s}
)";

std::string ErrorOf(const std::string& text, const Overrides& overrides = {}) {
  const auto workload = ParseWorkload(text, "w.yaml", overrides);
  return workload.ok() ? "no error" : std::string(ToStd(workload.status().message()));
}

// kGood with one piece of text replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

TEST_CASE("a workload is read with its parameters") {
  const auto workload = ParseWorkload(kGood, "w.yaml", {});
  REQUIRE(workload.ok());
  REQUIRE(workload->phases.size() == 2);
  const PhaseSpec& fill = workload->phases[0];
  CHECK_FALSE(fill.measure);
  REQUIRE(fill.loads.size() == 1);
  CHECK(fill.loads[0].loop == Loop::kClosed);
  CHECK(fill.loads[0].operations[0].value.min == 256);
  const PhaseSpec& run = workload->phases[1];
  CHECK(run.duration_ns == 2'000'000'000);
  REQUIRE(run.loads.size() == 2);
  CHECK(run.loads[0].rate == 100);
  CHECK(run.loads[0].operations[0].value.max == 1024);
  CHECK(run.loads[0].operations[1].key_space == 1);
  CHECK(run.loads[0].operations[1].theta == 1.2);
  CHECK(run.loads[1].operations[0].scope == Scope::kSlice);
  REQUIRE(run.watchers.size() == 1);
  CHECK(run.watchers[0].name == "pods");
  REQUIRE(run.schedule.size() == 2);
  CHECK(run.schedule[0].physical);
  CHECK(run.schedule[1].kind == ScheduleKind::kDefragment);
}

TEST_CASE("the command line changes parameters, duration, rate and seed") {
  Overrides overrides;
  overrides.parameters = {{"value", "1KiB"}, {"rate", "5"}};
  overrides.duration_ns = 7;
  overrides.seed = 99;
  auto workload = ParseWorkload(kGood, "w.yaml", overrides);
  REQUIRE(workload.ok());
  CHECK(workload->phases[0].loads[0].operations[0].value.min == 1024);
  CHECK(workload->phases[1].loads[0].rate == 5);
  CHECK(workload->phases[1].duration_ns == 7);
  CHECK(workload->phases[0].duration_ns == 0);
  CHECK(workload->seed == 99);
  overrides.rate = 31;
  workload = ParseWorkload(kGood, "w.yaml", overrides);
  REQUIRE(workload.ok());
  CHECK(workload->phases[1].loads[0].rate == 31);
}

TEST_CASE("the effective workload parses to itself") {
  const auto workload = ParseWorkload(kGood, "w.yaml", {});
  REQUIRE(workload.ok());
  const std::string printed = PrintWorkload(*workload);
  const auto again = ParseWorkload(printed, "printed", {});
  CAPTURE(printed);
  REQUIRE(again.status().message() == "");
  CHECK(PrintWorkload(*again) == printed);
}

TEST_CASE("errors name file and line, and the names that are known") {
  struct Case {
    std::string text;
    std::string where;
    std::string says;
  };
  const Case cases[] = {
      // Unknown keys, in each kind of section.
      {With("description:", "descripton:"), "w.yaml:2: ", "description"},
      {With("count: 100, size", "cuont: 100, size"), "w.yaml:7: ", "count"},
      {With("    duration: 2s", "    duraton: 2s"), "w.yaml:18: ", "duration"},
      {With("        rate: $(rate)/s", "        rat: $(rate)/s"), "w.yaml:21: ", "rate"},
      {With("theta: 1.2", "theta_: 1.2"), "w.yaml:26: ", "theta"},
      {With("streams: 2", "stream: 2"), "w.yaml:32: ", "streams"},
      {With("retain: 10", "retains: 10"), "w.yaml:34: ", "retain"},
      // A key of another operation is not known here.
      {With("limit: 10}", "value: 256B}"), "w.yaml:30: ", "limit"},
      // Unknown names as values.
      {With("op: txn", "op: tnx"), "w.yaml:26: ", "lease-grant"},
      {With("do: compact", "do: compat"), "w.yaml:34: ", "defragment"},
      {With("keys: nodes", "keys: node"), "w.yaml:26: ", "known: pods, nodes"},
      {With("distribution: zipf", "distribution: zip"), "w.yaml:26: ", "sequential"},
      {With("loop: closed", "loop: close"), "w.yaml:12: ", "open"},
      {With("$(rate)/s", "$(rat)/s"), "w.yaml:21: ", "known: rate, value"},
      // Units.
      {With("duration: 2s", "duration: 2"), "w.yaml:18: ", "unit"},
      {With("rate: $(rate)/s", "rate: $(rate)"), "w.yaml:21: ", "such as 1000/s"},
      {With("value: 64B..1KiB", "value: 64..1KiB"), "w.yaml:25: ", "unit"},
      {With("size: 32B", "size: 32"), "w.yaml:7: ", "unit"},
      // Impossible values.
      {With("value: 64B..1KiB", "value: 16B"), "w.yaml:25: ", "32B"},
      {With("value: 64B..1KiB", "value: 1KiB..64B"), "w.yaml:25: ", "begins above its end"},
      {With("size: 32B", "size: 5B"), "w.yaml:7: ", "at least 11B"},
      {With("groups: 10", "groups: 101"), "w.yaml:7: ", "count is 100"},
      {With("prefix: /nodes/", "prefix: /pods/x"), "w.yaml:8: ", "overlap"},
      {With("name: nodes", "name: pods"), "w.yaml:8: ", "a second key space"},
      {With("name: run", "name: fill"), "w.yaml:17: ", "a second phase"},
      {With("name: reads", "name: writes"), "w.yaml:27: ", "a second load"},
      {With("connections: 2", "connections: 20"), "w.yaml:20: ", "at most one each"},
      {With("        rate: $(rate)/s\n", ""), "w.yaml:20: ", "needs its 'rate'"},
      {With("loop: closed\n        op", "loop: closed\n        rate: 5/s\n        op"),
       "w.yaml:29: ", "a closed loop has no rate"},
      {With("    duration: 2s\n", ""), "w.yaml:17: ", "never ends"},
      {With("streams: 2", "streams: 20"), "w.yaml:32: ", "streams <= count"},
      {With("at: 1s", "at: 3s"), "w.yaml:35: ", "it lasts 2s"},
      {With("slice: 20", "slice: 200"), "w.yaml:30: ", "a slice of 200 keys"},
      {With("weight: 3", "weight: -3"), "w.yaml:25: ", "weight"},
      {With("clients: 4", "clients: 0"), "w.yaml:13: ", "clients"},
      // Duplicates and missing things.
      {With("clients: 4", "clients: 4\n    clients: 5"), "w.yaml:14: ", "clients"},
      {With("name: example\n", ""), "w.yaml:1: ", "needs 'name'"},
      {With("op: list, ", ""), "w.yaml:30: ", "needs 'op'"},
      {With("{op: put, keys: pods, v", "{op: put, v"), "w.yaml:25: ", "needs 'keys'"},
      {"name: x\n", "w.yaml:1: ", "needs 'phases'"},
      {"- 1\n", "w.yaml:1: ", "describe"},
  };
  for (const Case& c : cases) {
    const std::string error = ErrorOf(c.text);
    CAPTURE(error, c.says);
    CHECK(error.find(c.where) == 0);
    CHECK(error.find(c.says) != std::string::npos);
    CHECK(error.find('\n') == std::string::npos);
  }
}

TEST_CASE("leases must outlive the keys that hang on them, and revokes need grants") {
  const std::string head =
      "name: x\nkeys: [{name: k, prefix: k}]\nphases:\n"
      "  - {name: p, duration: 5m, loop: closed, ";
  CHECK(ErrorOf(head + "lease_ttl: 1m, operations: [{op: put, keys: k, lease: true}]}\n")
            .find("take its keys along") != std::string::npos);
  CHECK(ErrorOf(head + "operations: [{op: lease-revoke}]}\n").find("lease-grant") !=
        std::string::npos);
  CHECK(ErrorOf(head + "operations: [{op: lease-grant}, {op: lease-revoke}]}\n") == "no error");
}

TEST_CASE("errors of the command line's own") {
  Overrides unknown;
  unknown.parameters = {{"rates", "1"}};
  CHECK(ErrorOf(kGood, unknown).find("known: rate, value") != std::string::npos);
  Overrides bad;
  bad.parameters = {{"rate", "1\nname: y"}};
  CHECK(ErrorOf(kGood, bad).find("'rate'") != std::string::npos);
  const std::string closed =
      "name: x\nkeys: [{name: k, prefix: k}]\nphases:\n"
      "  - {name: p, count: 5, loop: closed, operations: [{op: get, keys: k}]}\n";
  Overrides duration;
  duration.duration_ns = 1;
  CHECK(ErrorOf(closed, duration).find("--duration") != std::string::npos);
  Overrides rate;
  rate.rate = 1;
  CHECK(ErrorOf(closed, rate).find("--rate") != std::string::npos);
}

TEST_CASE("the reference names every operation and fits a line") {
  const std::string text = DescribeLanguage();
  for (const char* word : {"lease-keepalive", "hot_fraction", "watch_timeout", "compact",
                           "progress_notify", "own_thread"}) {
    CHECK(text.find(word) != std::string::npos);
  }
}

}  // namespace
}  // namespace quorate::workload
