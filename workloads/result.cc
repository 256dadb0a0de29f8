#include "workloads/result.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "workloads/language.h"

namespace quorate::workload {
namespace {

using Json = nlohmann::ordered_json;

Json HistogramJson(const Histogram& histogram) {
  Json json;
  json["count"] = histogram.count();
  if (histogram.count() == 0) return json;
  json["min_ns"] = histogram.min_ns();
  json["mean_ns"] = histogram.mean_ns();
  json["p50_ns"] = histogram.QuantileNs(0.5);
  json["p90_ns"] = histogram.QuantileNs(0.9);
  json["p99_ns"] = histogram.QuantileNs(0.99);
  json["p999_ns"] = histogram.QuantileNs(0.999);
  json["max_ns"] = histogram.max_ns();
  Json& buckets = json["buckets"] = Json::array();
  for (const auto& [low, count] : histogram.NonEmpty()) buckets.push_back({low, count});
  return json;
}

// A row per step, also for those in which nothing was answered: silence is a measurement.
Json SeriesJson(const std::vector<SeriesStep>& series, const PhaseRecord& phase,
                int64_t interval_ns) {
  const int64_t steps = (phase.load_ns + interval_ns - 1) / interval_ns;
  // What happens at a moment of the phase is compared with the time around it: exactly. Whoever
  // asks for fine steps has such a moment, even if it is not in the schedule.
  const bool with_buckets = !phase.spec->schedule.empty() || interval_ns < kNanosPerSecond;
  Json rows = Json::array();
  size_t next = 0;
  for (int64_t index = 0; index < steps || next < series.size(); ++index) {
    Json row;
    row["t_ns"] = index * interval_ns;
    const bool there = next < series.size() && series[next].index == index;
    const uint64_t count = there ? series[next].count() : 0;
    row["count"] = count;
    if (there && series[next].errors > 0) row["errors"] = series[next].errors;
    if (count > 0) {
      row["p50_ns"] = series[next].QuantileNs(0.5);
      row["p99_ns"] = series[next].QuantileNs(0.99);
      row["max_ns"] = series[next].max_ns;
      if (with_buckets) {
        Json& buckets = row["buckets"] = Json::array();
        for (const auto& [low, of_bucket] : series[next].buckets) {
          buckets.push_back({low, of_bucket});
        }
      }
    }
    if (there) ++next;
    rows.push_back(std::move(row));
  }
  return rows;
}

Json ErrorsJson(const std::map<std::string, uint64_t>& errors) {
  Json json = Json::object();
  for (const auto& [text, count] : errors) json[text] = count;
  return json;
}

Json OperationJson(const OperationRecord& record, const PhaseRecord& phase, int64_t interval_ns) {
  Json json;
  json["name"] = record.name;
  json["op"] = record.op;
  json["ok"] = record.ok;
  json["errors"] = record.error_count();
  if (record.op == "txn") json["conflicts"] = record.conflicts;
  if (record.pairs > 0) json["pairs"] = record.pairs;
  if (record.request_bytes > 0) json["request_bytes"] = record.request_bytes;
  if (record.response_bytes > 0) json["response_bytes"] = record.response_bytes;
  if (!record.errors.empty()) json["errors_by_text"] = ErrorsJson(record.errors);
  if (!phase.spec->measure) return json;
  json["latency"] = HistogramJson(record.latency);
  json["service"] = HistogramJson(record.service);
  json["series"] = SeriesJson(record.series, phase, interval_ns);
  return json;
}

Json LoadJson(const LoadRecord& load, const LoadSpec& spec, const PhaseRecord& phase,
              int64_t interval_ns) {
  Json json;
  json["name"] = load.name;
  json["loop"] = spec.loop == Loop::kOpen ? "open" : "closed";
  json["issued"] = load.issued;
  if (spec.loop == Loop::kOpen) {
    json["rate_per_s"] = spec.rate;
    json["unsent"] = load.unsent;
    if (load.unsent > 0) json["oldest_unsent_ns"] = load.oldest_unsent_ns;
    json["waited_for_client"] = load.waited_for_client;
    if (phase.spec->measure) json["send_delay"] = HistogramJson(load.send_delay);
  }
  Json& operations = json["operations"] = Json::array();
  for (const OperationRecord& record : load.operations) {
    operations.push_back(OperationJson(record, phase, interval_ns));
  }
  return json;
}

Json WatcherJson(const WatchRecord& record, const PhaseRecord& phase, int64_t interval_ns) {
  Json json;
  json["name"] = record.name;
  json["watches"] = record.watches;
  json["streams"] = record.streams;
  json["events"] = record.events;
  json["deletes"] = record.deletes;
  json["messages"] = record.messages;
  json["progress_messages"] = record.progress_messages;
  json["bytes"] = record.bytes;
  json["reopened_streams"] = record.reopened_streams;
  json["cancelled_watches"] = record.cancelled_watches;
  if (!record.errors.empty()) json["errors_by_text"] = ErrorsJson(record.errors);
  if (!phase.spec->measure) return json;
  json["latency"] = HistogramJson(record.latency);
  json["series"] = SeriesJson(record.series, phase, interval_ns);
  return json;
}

const LoadSpec& SpecOf(const PhaseRecord& phase, const std::string& load) {
  for (const LoadSpec& spec : phase.spec->loads) {
    if (spec.name == load) return spec;
  }
  static const LoadSpec none;
  return none;
}

uint64_t OperationsOf(const PhaseRecord& phase) {
  uint64_t sum = 0;
  for (const LoadRecord& load : phase.loads) {
    for (const OperationRecord& record : load.operations) sum += record.ok;
  }
  return sum;
}

Json PhaseJson(const PhaseRecord& phase, int64_t interval_ns) {
  Json json;
  json["name"] = phase.spec->name;
  json["measured"] = phase.spec->measure;
  json["start_wall_ns"] = phase.start_wall_ns;
  json["prepare_ns"] = phase.prepare_ns;
  json["load_ns"] = phase.load_ns;
  if (!phase.spec->watchers.empty()) json["watch_wait_ns"] = phase.watch_wait_ns;
  json["last_revision"] = phase.last_revision;
  json["driver_cpu_ns"] = phase.driver_cpu_ns;
  Json& loads = json["loads"] = Json::array();
  for (const LoadRecord& load : phase.loads) {
    loads.push_back(LoadJson(load, SpecOf(phase, load.name), phase, interval_ns));
  }
  Json& watchers = json["watchers"] = Json::array();
  for (const WatchRecord& record : phase.watchers) {
    watchers.push_back(WatcherJson(record, phase, interval_ns));
  }
  Json& schedule = json["schedule"] = Json::array();
  for (const ScheduleRecord& record : phase.schedule) {
    Json& item = schedule.emplace_back();
    item["kind"] = record.kind;
    item["at_ns"] = record.at_ns;
    item["took_ns"] = record.took_ns;
    if (record.revision > 0) item["revision"] = record.revision;
    if (!record.error.empty()) item["error"] = record.error;
  }
  return json;
}

Json ChecksJson(const CheckLog& checks) {
  Json json;
  for (size_t i = 0; i < kCheckCount; ++i) {
    const auto check = static_cast<Check>(i);
    if (checks.passed(check) == 0 && checks.failed(check) == 0) continue;
    Json& row = json["performed"][std::string(CheckName(check))];
    row["meaning"] = std::string(CheckMeaning(check));
    row["passed"] = checks.passed(check);
    row["failed"] = checks.failed(check);
  }
  json["violations"] = checks.violations();
  json["first_violations"] = checks.FirstViolations();
  return json;
}

// --- for people

std::string Pad(std::string text, size_t width, bool left = false) {
  if (text.size() >= width) return text;
  const std::string blanks(width - text.size(), ' ');
  return left ? text + blanks : blanks + text;
}

std::string FormatPerSecond(uint64_t count, int64_t ns) {
  if (ns <= 0) return "-";
  const double rate = static_cast<double>(count) * 1e9 / static_cast<double>(ns);
  char text[32];
  std::snprintf(text, sizeof(text), rate >= 100 ? "%.0f" : "%.1f", rate);
  return text;
}

void AddTimesRow(const std::string& name, const Histogram& times, const std::string& per_second,
                 const std::string& errors, std::string* out) {
  StrAppend(out, "  ", Pad(name, 24, true), Pad(StrCat(times.count()), 10), Pad(per_second, 10),
            Pad(errors, 8));
  for (const double quantile : {0.5, 0.9, 0.99, 0.999, 1.0}) {
    StrAppend(out, Pad(times.count() == 0 ? "-" : FormatLatency(times.QuantileNs(quantile)), 9));
  }
  *out += '\n';
}

void AddPhase(const PhaseRecord& phase, std::string* out) {
  const uint64_t operations = OperationsOf(phase);
  StrAppend(out, "\nphase ", phase.spec->name, phase.spec->measure ? "" : " (not measured)", ": ",
            static_cast<double>(phase.load_ns / kNanosPerMilli) / 1000, "s, ", operations,
            " operations, ", FormatPerSecond(operations, phase.load_ns), "/s");
  if (operations > 0) {
    StrAppend(
        out, ", driver CPU ",
        static_cast<double>(phase.driver_cpu_ns / 10 / static_cast<int64_t>(operations)) / 100,
        "us per operation");
  }
  *out += '\n';
  if (phase.spec->measure) {
    StrAppend(out, "  ", Pad("latency of", 24, true), Pad("count", 10), Pad("per s", 10),
              Pad("errors", 8), Pad("p50", 9), Pad("p90", 9), Pad("p99", 9), Pad("p99.9", 9),
              Pad("max", 9), "\n");
  }
  for (const LoadRecord& load : phase.loads) {
    const std::string prefix = phase.loads.size() > 1 ? load.name + "." : "";
    for (const OperationRecord& record : load.operations) {
      if (phase.spec->measure) {
        AddTimesRow(prefix + record.name, record.latency, FormatPerSecond(record.ok, phase.load_ns),
                    StrCat(record.error_count()), out);
      }
      for (const auto& [text, count] : record.errors) {
        StrAppend(out, "    ", count, " x ", text, "\n");
      }
      if (record.conflicts > 0) {
        StrAppend(out, "    ", record.conflicts, " of them found another revision and read it\n");
      }
    }
    if (load.unsent > 0) {
      StrAppend(out, "  OVERLOADED: ", load.unsent, " of ", load.unsent + load.issued,
                " operations of load '", load.name, "' were due and never sent, the oldest for ",
                FormatLatency(load.oldest_unsent_ns), ": the times above leave them out\n");
    }
  }
  for (const WatchRecord& record : phase.watchers) {
    if (phase.spec->measure) {
      AddTimesRow(StrCat("watch ", record.name), record.latency,
                  FormatPerSecond(record.events, phase.load_ns), "", out);
    }
    StrAppend(out, "    ", record.watches, " watches on ", record.streams, " streams, ",
              record.events, " events\n");
    for (const auto& [text, count] : record.errors) {
      StrAppend(out, "    ", count, " x ", text, "\n");
    }
  }
  for (const ScheduleRecord& item : phase.schedule) {
    StrAppend(out, "  ", item.kind, " at ", FormatLatency(item.at_ns), " took ",
              FormatLatency(item.took_ns));
    if (item.revision > 0) StrAppend(out, ", revision ", item.revision);
    StrAppend(out, item.error.empty() ? "" : ": ", item.error, "\n");
  }
}

}  // namespace

std::string_view OutcomeName(RunResult::Outcome outcome) {
  switch (outcome) {
    case RunResult::Outcome::kComplete:
      return "complete";
    case RunResult::Outcome::kPartial:
      return "partial";
    case RunResult::Outcome::kVoid:
      return "void";
    case RunResult::Outcome::kFailed:
      return "failed";
  }
  return "";
}

std::string FormatLatency(int64_t ns) {
  // Three digits that count.
  const auto format = [](double value, const char* unit) {
    char text[32];
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    std::snprintf(text, sizeof(text), "%.*f%s", decimals, value, unit);
    return std::string(text);
  };
  const auto value = static_cast<double>(ns);
  if (ns < kNanosPerMicro) return StrCat(ns, "ns");
  if (ns < kNanosPerMilli) return format(value / 1e3, "us");
  if (ns < kNanosPerSecond) return format(value / 1e6, "ms");
  return format(value / 1e9, "s");
}

std::string ResultJson(const Workload& workload, const RunResult& result, const CheckLog& checks) {
  Json json;
  json["format"] = "quorate-bench/1";
  json["outcome"] = std::string(OutcomeName(result.outcome));
  if (!result.error.empty()) json["error"] = result.error;
  json["program"] = {{"version", QUORATE_VERSION}, {"build_type", QUORATE_BUILD_TYPE}};
  Json& described = json["workload"];
  described["name"] = workload.name;
  // Its folder says nothing to a reader on another machine.
  described["file"] = workload.file.substr(workload.file.rfind('/') + 1);
  for (const auto& [name, value] : workload.parameters) described["parameters"][name] = value;
  described["effective"] = PrintWorkload(workload);
  json["seed"] = result.seed;
  json["threads"] = result.threads;
  json["start_wall_ns"] = result.start_wall_ns;
  json["interval_ns"] = workload.interval_ns;
  Json& servers = json["servers"] = Json::array();
  for (const ServerRecord& server : result.servers) {
    Json& row = servers.emplace_back();
    row["endpoint"] = server.endpoint;
    row["version"] = server.version;
    row["revision_before"] = server.revision_before;
    row["db_size_before"] = server.db_size_before;
    if (server.revision_after) row["revision_after"] = *server.revision_after;
    if (server.db_size_after) row["db_size_after"] = *server.db_size_after;
  }
  if (!result.older_keys.empty()) json["older_keys"] = result.older_keys;
  Json& phases = json["phases"] = Json::array();
  for (const PhaseRecord& phase : result.phases) {
    phases.push_back(PhaseJson(phase, workload.interval_ns));
  }
  json["checks"] = ChecksJson(checks);
  json["checks"]["final_keys"] = result.final_keys_checked;
  json["checks"]["writes_of_unknown_outcome"] = result.unknown_writes;
  // Texts of servers may hold any bytes.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string SummaryText(const Workload& workload, const RunResult& result, const CheckLog& checks) {
  std::string out = StrCat("workload ", workload.name, ", seed ", result.seed);
  for (const ServerRecord& server : result.servers) {
    StrAppend(&out, ", ", server.endpoint, " (", server.version, ")");
  }
  out += '\n';
  for (const std::string& keys : result.older_keys) {
    StrAppend(&out, "the store was not empty, key space ", keys, " keys\n");
  }
  for (const PhaseRecord& phase : result.phases) AddPhase(phase, &out);
  uint64_t passed = 0;
  for (size_t i = 0; i < kCheckCount; ++i) passed += checks.passed(static_cast<Check>(i));
  StrAppend(&out, "\nchecks: ", passed, " passed, ", checks.violations(), " failed; ",
            result.final_keys_checked, " keys read back at the end\n");
  for (const std::string& violation : checks.FirstViolations()) {
    StrAppend(&out, "  WRONG  ", violation, "\n");
  }
  StrAppend(&out, "outcome: ", OutcomeName(result.outcome),
            result.outcome == RunResult::Outcome::kVoid
                ? ": the server gave a wrong answer, these numbers are no result"
                : "",
            result.error.empty() ? "" : ": ", result.error, "\n");
  return out;
}

}  // namespace quorate::workload
