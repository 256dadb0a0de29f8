#include "workloads/language_tables.h"

#include <charconv>

#include "workloads/keys.h"
#include "workloads/value.h"

namespace quorate::workload {
namespace {

constexpr int64_t kMilli = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kKeysMax = 100'000'000;
constexpr int64_t kValueMax = int64_t{64} << 20;

uint32_t Ops(std::initializer_list<OpType> types) {
  uint32_t variants = 0;
  for (const OpType type : types) variants |= VariantOf(type);
  return variants;
}

Field<OperationSpec> ValueField() {
  return {"value", "bytes, or 64B..1KiB", "size of the value, or range of sizes drawn evenly",
          [](const YamlNode& node, OperationSpec* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(
                out->value, ReadSizeRange(node, static_cast<int64_t>(kValueHeaderSize), kValueMax));
            return absl::OkStatus();
          },
          [](const OperationSpec& from) { return FormatSizeRange(from.value); }};
}

const std::vector<std::string> kScopes = {"key", "slice", "group", "all"};

}  // namespace

const std::vector<std::string>& OpTypeNames() {
  static const std::vector<std::string> names = {
      "put",         "get", "list", "count", "txn", "delete", "lease-grant", "lease-keepalive",
      "lease-revoke"};
  static_assert(kOpTypeCount == 9);
  return names;
}

const std::vector<std::string>& ScheduleKindNames() {
  static const std::vector<std::string> names = {"compact", "defragment"};
  return names;
}

std::string_view OpTypeName(OpType type) { return OpTypeNames()[static_cast<size_t>(type)]; }

const FieldTable<Workload>& WorkloadFields() {
  static const FieldTable<Workload> table = {
      Required(StringField("name", &Workload::name, "names the workload in results")),
      StringField("description", &Workload::description, "the question that it answers"),
      IntField("seed", &Workload::seed, "start of all random draws", 0, INT64_MAX),
      DurationField("interval", &Workload::interval_ns, "step of the time series in the result",
                    10 * kMilli),
      BoolField("final_check", &Workload::final_check,
                "read every key back at the end and compare it with what was acknowledged"),
  };
  return table;
}

const FieldTable<KeySpaceSpec>& KeySpaceFields() {
  static const FieldTable<KeySpaceSpec> table = {
      Required(StringField("name", &KeySpaceSpec::name, "what operations and watchers call it")),
      Required(StringField("prefix", &KeySpaceSpec::prefix,
                           "beginning of every key; no space's prefix may begin with another's")),
      IntField("count", &KeySpaceSpec::count, "number of keys", 1, kKeysMax),
      BytesField("size", &KeySpaceSpec::size,
                 "length of a whole key, padded with zeros; 0 = as short as possible",
                 KeySpace::kMaxKeySize),
      IntField("groups", &KeySpaceSpec::groups,
               "parts of equal size, each with a prefix of its own (as namespaces are)", 1,
               kKeysMax),
  };
  return table;
}

const FieldTable<PhaseSpec>& PhaseFields() {
  static const FieldTable<PhaseSpec> table = {
      Required(StringField("name", &PhaseSpec::name, "names the phase in results")),
      DurationField("duration", &PhaseSpec::duration_ns,
                    "how long; 0s = until every load with a count has done it", 0),
      BoolField("measure", &PhaseSpec::measure,
                "false: a warm-up; it is verified and counted, its times are not kept"),
      DurationField("watch_timeout", &PhaseSpec::watch_timeout_ns,
                    "after the load: how long watches may take to deliver all of it", 100 * kMilli),
  };
  return table;
}

const FieldTable<LoadSpec>& LoadFields() {
  static const FieldTable<LoadSpec> table = {
      ChoiceField("loop", &LoadSpec::loop, {"open", "closed"},
                  "open: operations are due at `rate`, whatever the server does, and latency "
                  "counts from the due time; closed: a client's next follows its last answer"),
      RateField("rate", &LoadSpec::rate, "open loop: operations per second of all clients"),
      ChoiceField("arrivals", &LoadSpec::arrivals, {"uniform", "poisson"},
                  "open loop: equal gaps, or exponentially distributed ones"),
      IntField("count", &LoadSpec::count,
               "operations to do; 0 = until the phase's duration is over", 0, INT64_MAX),
      IntField("connections", &LoadSpec::connections, "connections, shared by the clients", 1,
               100'000),
      IntField("clients", &LoadSpec::clients, "requests that may be outstanding at once", 1,
               1'000'000),
      DurationField("timeout", &LoadSpec::timeout_ns, "deadline of each request", kMilli),
      BoolField("own_thread", &LoadSpec::own_thread,
                "true: a thread of its own, so that its work delays no other load's times"),
      IntField("leases", &LoadSpec::leases,
               "leases granted before the phase, for lease-keepalive and puts with a lease", 1,
               1'000'000),
      DurationField("lease_ttl", &LoadSpec::lease_ttl_ns, "time to live of all its leases",
                    kSecond),
  };
  return table;
}

const FieldTable<OperationSpec>& OperationFields() {
  using enum OpType;
  const auto keyed = Ops({kPut, kGet, kList, kCount, kTxn, kDelete});
  const auto ranged = Ops({kList, kCount});
  static const FieldTable<OperationSpec> table = {
      StringField("name", &OperationSpec::name, "in results; default: what `op` says"),
      NumberField("weight", &OperationSpec::weight, "share among the load's operations", 0, 1e9),
      Only(keyed, Required(StringField("keys", &OperationSpec::keys, "a key space"))),
      Only(keyed, ChoiceField("distribution", &OperationSpec::distribution,
                              {"sequential", "uniform", "zipf", "hot"},
                              "how keys are chosen: one after the other, evenly, by Zipf's law, or "
                              "mostly out of a hot set")),
      Only(keyed, NumberField("theta", &OperationSpec::theta, "zipf: exponent", 0, 10)),
      Only(keyed, NumberField("hot_fraction", &OperationSpec::hot_fraction,
                              "hot: this part of the keys ...", 0, 1)),
      Only(keyed, NumberField("hot_share", &OperationSpec::hot_share,
                              "hot: ... gets this part of the operations", 0, 1)),
      Only(Ops({kPut, kTxn}), ValueField()),
      Only(Ops({kGet, kList, kCount}),
           ChoiceField("consistency", &OperationSpec::consistency, {"linearizable", "serializable"},
                       "linearizable: sees all that was acknowledged; serializable: local state")),
      Only(ranged, ChoiceField("scope", &OperationSpec::scope, kScopes,
                               "what is read around the chosen key: itself, a slice of keys from "
                               "it on, its group, or the whole key space")),
      Only(ranged,
           IntField("slice", &OperationSpec::slice, "scope slice: number of keys", 1, kKeysMax)),
      Only(Ops({kList}), IntField("limit", &OperationSpec::limit,
                                  "most pairs of one answer; 0 = no limit", 0, INT64_MAX)),
      Only(Ops({kList}), BoolField("keys_only", &OperationSpec::keys_only, "without values")),
      Only(Ops({kPut, kDelete}), BoolField("prev_kv", &OperationSpec::prev_kv,
                                           "ask for the previous pair, and verify it")),
      Only(Ops({kPut}),
           BoolField("lease", &OperationSpec::lease, "attach the key to one of the load's leases")),
      Only(Ops({kTxn}), BoolField("remove", &OperationSpec::remove,
                                  "true: the guarded change is a delete, not a put")),
  };
  return table;
}

const FieldTable<WatcherSpec>& WatcherFields() {
  static const FieldTable<WatcherSpec> table = {
      StringField("name", &WatcherSpec::name, "in results; default: the key space's"),
      IntField("count", &WatcherSpec::count, "watches", 1, 10'000'000),
      IntField("connections", &WatcherSpec::connections, "connections, shared by the streams", 1,
               100'000),
      IntField("streams", &WatcherSpec::streams, "watch streams, shared by the watches", 1,
               1'000'000),
      Required(StringField("keys", &WatcherSpec::keys, "a key space")),
      ChoiceField("scope", &WatcherSpec::scope, kScopes,
                  "what each watches, one after the other through the key space: a key, a slice, "
                  "a group, or all of it"),
      IntField("slice", &WatcherSpec::slice, "scope slice: number of keys", 1, kKeysMax),
      BoolField("prev_kv", &WatcherSpec::prev_kv, "ask for previous pairs, and verify them"),
      BoolField("progress_notify", &WatcherSpec::progress_notify, "ask for progress messages"),
      BoolField("fragment", &WatcherSpec::fragment, "let large messages come in pieces"),
  };
  return table;
}

const FieldTable<ScheduleSpec>& ScheduleFields() {
  using enum ScheduleKind;
  static const FieldTable<ScheduleSpec> table = {
      DurationField("at", &ScheduleSpec::at_ns,
                    "time of the (first) run after the phase began; 0s with `every`: after one "
                    "such step",
                    0),
      DurationField("every", &ScheduleSpec::every_ns, "repeat with this step; 0s = once", 0),
      Only(VariantOf(kCompact),
           IntField("retain", &ScheduleSpec::retain,
                    "revisions to keep: compacts at the newest one minus this", 0, INT64_MAX)),
      Only(VariantOf(kCompact), BoolField("physical", &ScheduleSpec::physical,
                                          "wait until the space is given back, too")),
  };
  return table;
}

std::string FormatByteSize(int64_t bytes) {
  constexpr int64_t kKib = 1024;
  if (bytes == 0) return "0";
  if (bytes % (kKib * kKib) == 0) return StrCat(bytes / kKib / kKib, "MiB");
  if (bytes % kKib == 0) return StrCat(bytes / kKib, "KiB");
  return StrCat(bytes, "B");
}

std::string FormatNumber(double number) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  return std::string(digits, end);
}

std::string FormatRate(double per_second) { return FormatNumber(per_second) + "/s"; }

std::string QuoteYaml(std::string_view text) {
  std::string quoted = "\"";
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20) {
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

absl::StatusOr<double> ReadRate(const YamlNode& node) {
  QR_ASSIGN_OR_RETURN(const std::string text, node.AsString());
  std::string_view digits = text;
  if (!digits.ends_with("/s")) {
    return node.Error(StrCat("the rate '", text, "' needs its unit, such as 1000/s"));
  }
  digits.remove_suffix(2);
  double rate = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rate);
  if (error != std::errc() || end != digits.data() + digits.size() || !(rate > 0) || rate > 1e8) {
    return node.Error(StrCat("'", text, "' is no rate: a number above 0, then /s"));
  }
  return rate;
}

absl::StatusOr<SizeRange> ReadSizeRange(const YamlNode& node, int64_t min, int64_t max) {
  QR_ASSIGN_OR_RETURN(const std::string text, node.AsString());
  const auto read = [&](std::string_view part) -> absl::StatusOr<int64_t> {
    if (part.empty() || (part.back() >= '0' && part.back() <= '9')) {
      return node.Error(StrCat("the size '", text, "' needs its unit, such as 256B or 64B..1KiB"));
    }
    const absl::StatusOr<int64_t> size = ParseByteSize(part);
    if (!size.ok()) return node.Error(ToStd(size.status().message()));
    if (*size < min || *size > max) {
      return node.Error(StrCat("size ", FormatByteSize(*size), " is outside ", FormatByteSize(min),
                               "..", FormatByteSize(max)));
    }
    return size;
  };
  const size_t dots = text.find("..");
  SizeRange range;
  QR_ASSIGN_OR_RETURN(range.min, read(std::string_view(text).substr(0, dots)));
  range.max = range.min;
  if (dots != std::string::npos) {
    QR_ASSIGN_OR_RETURN(range.max, read(std::string_view(text).substr(dots + 2)));
  }
  if (range.max < range.min) {
    return node.Error(StrCat("'", text, "' begins above its end"));
  }
  return range;
}

std::string FormatSizeRange(const SizeRange& range) {
  if (range.min == range.max) return FormatByteSize(range.min);
  return StrCat(FormatByteSize(range.min), "..", FormatByteSize(range.max));
}

}  // namespace quorate::workload
