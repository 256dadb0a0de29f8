// What a workload file says, as plain values: key spaces, and phases of loads, watchers and a
// schedule. Read by language.h, run by driver.h. Times are nanoseconds, sizes bytes, rates
// operations per second.
//
// Terms: a *key space* is an ordered row of keys, key number 0..count-1, cut into equal *groups*;
// whatever reads or watches more than one key names an interval of key numbers. A *load* is a
// stream of operations from some clients, paced (open loop) or back to back (closed loop). A
// *client* is one outstanding request at most. A *phase* runs its loads, watchers and schedule
// together; phases follow each other.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace quorate::workload {

enum class Distribution { kSequential, kUniform, kZipf, kHot };
enum class Scope { kKey, kSlice, kGroup, kAll };
enum class Loop { kOpen, kClosed };
enum class Arrivals { kUniform, kPoisson };
enum class Consistency { kLinearizable, kSerializable };
enum class ScheduleKind { kCompact, kDefragment };
enum class OpType {
  kPut,
  kGet,
  kList,
  kCount,
  kTxn,
  kDelete,
  kLeaseGrant,
  kLeaseKeepAlive,
  kLeaseRevoke
};
inline constexpr size_t kOpTypeCount = 9;

struct SizeRange {
  int64_t min = 256;
  int64_t max = 256;
};

struct KeySpaceSpec {
  std::string name;
  std::string prefix;
  int64_t count = 1000;
  int64_t size = 0;  // bytes of a whole key; 0 = as short as the numbers allow
  int64_t groups = 1;
};

struct OperationSpec {
  OpType type = OpType::kPut;
  std::string name;  // in results; the type's name when not given
  double weight = 1;
  std::string keys;      // name of the key space
  size_t key_space = 0;  // its place in Workload::key_spaces, filled by the parser
  Distribution distribution = Distribution::kUniform;
  double theta = 0.99;        // zipf: exponent
  double hot_fraction = 0.1;  // hot: this part of the keys ...
  double hot_share = 0.9;     // ... gets this part of the operations
  SizeRange value;
  Consistency consistency = Consistency::kLinearizable;
  Scope scope = Scope::kGroup;
  int64_t slice = 100;
  int64_t limit = 0;  // 0 = none
  bool keys_only = false;
  bool prev_kv = false;
  bool lease = false;   // put: attach to one of the load's leases
  bool remove = false;  // txn: delete the key instead of putting it
};

struct LoadSpec {
  std::string name = "main";
  Loop loop = Loop::kOpen;
  double rate = 0;  // operations per second, all clients together
  Arrivals arrivals = Arrivals::kUniform;
  int64_t count = 0;  // operations; 0 = until the phase ends
  int64_t connections = 1;
  int64_t clients = 1;
  int64_t timeout_ns = 10'000'000'000;
  bool own_thread = false;
  int64_t leases = 10;
  int64_t lease_ttl_ns = 3'600'000'000'000;
  std::vector<OperationSpec> operations;
};

struct WatcherSpec {
  std::string name;
  int64_t count = 1;
  int64_t connections = 1;
  int64_t streams = 1;
  std::string keys;
  size_t key_space = 0;
  Scope scope = Scope::kAll;
  int64_t slice = 100;
  bool prev_kv = false;
  bool progress_notify = false;
  bool fragment = false;
};

struct ScheduleSpec {
  ScheduleKind kind = ScheduleKind::kCompact;
  int64_t every_ns = 0;  // 0 = once
  int64_t at_ns = 0;     // after the start of the phase; with every: the first time (0 = every)
  int64_t retain = 1000;
  bool physical = false;
};

struct PhaseSpec {
  std::string name;
  int64_t duration_ns = 0;  // 0 = until each load with a count has done it
  bool measure = true;
  int64_t watch_timeout_ns = 30'000'000'000;  // for the watches to deliver what was acknowledged
  std::vector<LoadSpec> loads;
  std::vector<WatcherSpec> watchers;
  std::vector<ScheduleSpec> schedule;
};

struct Workload {
  std::string file;
  std::string name;
  std::string description;
  std::vector<std::pair<std::string, std::string>> parameters;  // with the values in force
  int64_t seed = 1;
  int64_t interval_ns = 1'000'000'000;  // of the time series
  bool final_check = true;              // read every key back at the end
  std::vector<KeySpaceSpec> key_spaces;
  std::vector<PhaseSpec> phases;
};

}  // namespace quorate::workload
