// check perf, check datascale: whether a cluster does what it is to do. They write keys of their
// own and delete them.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <optional>

#include "base/text.h"
#include "ctl/http_get.h"
#include "ctl/interruption.h"
#include "ctl/printers.h"
#include "ctl/put_load.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

constexpr int64_t kCleanupTimeoutNs = 30 * kNanosPerSecond;

// What etcdctl's workloads ask for.
struct Workload {
  std::string_view letter;
  std::string_view name;
  int64_t puts_per_second;  // perf
  size_t clients;
  int64_t puts;  // datascale
};
constexpr Workload kWorkloads[] = {
    {"s", "small", 150, 50, 10'000},
    {"m", "medium", 1'000, 200, 100'000},
    {"l", "large", 8'000, 500, 1'000'000},
    {"xl", "xLarge", 15'000, 1'000, 3'000'000},
};
constexpr int64_t kPerfSeconds = 60;
constexpr size_t kDatascalePairBytes = 1024;

const Workload* WorkloadOf(const std::string& load) {
  for (const Workload& workload : kWorkloads) {
    if (load == workload.letter || load == workload.name) return &workload;
  }
  return nullptr;
}

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

// Refuses a prefix with keys, which the check would delete. Not kExitOk: told.
int CheckPrefix(Session* session, std::string_view quote) {
  const std::string& prefix = session->values().GetString("prefix");
  etcdserverpb::RangeRequest request;
  request.set_key(prefix.empty() ? std::string(1, '\0') : prefix);
  request.set_range_end(PrefixEnd(prefix));
  request.set_limit(1);
  etcdserverpb::RangeResponse response;
  if (!session->Call("/etcdserverpb.KV/Range", request, &response)) return session->failure();
  if (response.kvs().empty()) return kExitOk;
  return Fail(kExitInvalidInput,
              StrCat("prefix ", GoQuote(prefix), " has keys. Delete with ", quote,
                     "quoratectl del --prefix ", prefix, quote, " first"));
}

// What both checks have in common. The client is connected and signed in.
PutLoadOptions LoadOf(Session* session, const Workload& workload) {
  PutLoadOptions load;
  // The session's client has connected to these before.
  load.channels = *ChannelsOf(session->OptionsFor(session->values().GetList("endpoints")));
  load.metadata = session->Client()->Metadata();
  load.clients = workload.clients;
  load.prefix = session->values().GetString("prefix");
  return load;
}

// On a terminal, how far it is.
void ShowProgress(PutLoadOptions* load, int64_t puts) {
  if (isatty(STDERR_FILENO) == 0) return;
  load->on_progress = [puts](int64_t done) {
    std::fprintf(stderr, "\r%lld of %lld puts ", static_cast<long long>(done),
                 static_cast<long long>(puts));
  };
}

// Deletes the keys, then compacts and defragments as asked. Not kExitOk: told.
int CleanUp(Session* session) {
  const OptionValues& v = session->values();
  SyncClient* client = session->Client();
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(v.GetString("prefix"));
  request.set_range_end(PrefixEnd(request.key()));
  etcdserverpb::DeleteRangeResponse deleted;
  auto status = client->Call("/etcdserverpb.KV/DeleteRange", request, &deleted, kCleanupTimeoutNs);
  if (!status.ok()) {
    Out(StrCat("FAIL: Cleanup failed during key deletion: ERROR(", ErrorText(status), ")\n"));
    return kExitError;
  }
  if (v.GetBool("auto-compact")) {
    const int64_t revision = deleted.header().revision();
    Out(StrCat("Compacting with revision ", revision, "\n"));
    etcdserverpb::CompactionRequest compaction;
    compaction.set_revision(revision);
    compaction.set_physical(true);
    etcdserverpb::CompactionResponse compacted;
    status = client->Call("/etcdserverpb.KV/Compact", compaction, &compacted, kCleanupTimeoutNs);
    if (!status.ok()) return Fail(status);
    Out(StrCat("Compacted with revision ", revision, "\n"));
  }
  if (!v.GetBool("auto-defrag")) return kExitOk;
  for (const std::string& endpoint : v.GetList("endpoints")) {
    Out(StrCat("Defragmenting ", GoQuote(endpoint), "\n"));
    auto one = session->ClientOf(endpoint);
    etcdserverpb::DefragmentResponse defragmented;
    status = (*one)->Call("/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest(),
                          &defragmented, kCleanupTimeoutNs);
    if (!status.ok()) return Fail(status);
    Out(StrCat("Defragmented ", GoQuote(endpoint), "\n"));
  }
  return kExitOk;
}

bool PrintErrors(const PutLoadResult& result) {
  if (result.errors.empty()) return false;
  Out("FAIL: too many errors\n");
  for (const auto& [error, count] : result.errors) {
    Out(StrCat("FAIL: ERROR(", error, ") -> ", count, "\n"));
  }
  return true;
}

// --- check perf

int Judge(const PutLoadResult& result, int64_t puts_per_second) {
  bool passed = !PrintErrors(result);
  const double rate = result.PutsPerSecond();
  const auto shown = static_cast<int64_t>(rate) + 1;
  if (rate / static_cast<double>(puts_per_second) <= 0.9) {
    Out(StrCat("FAIL: Throughput too low: ", shown, " writes/s\n"));
    passed = false;
  } else {
    Out(StrCat("PASS: Throughput is ", shown, " writes/s\n"));
  }
  if (const double slowest = result.Slowest(); slowest > 0.5) {
    Out(StrCat("Slowest request took too long: ", Fixed(slowest, 6), "s\n"));
    passed = false;
  } else {
    Out(StrCat("PASS: Slowest request took ", Fixed(slowest, 6), "s\n"));
  }
  if (const double deviation = result.StandardDeviation(); deviation > 0.1) {
    Out(StrCat("Stddev too high: ", Fixed(deviation, 6), "s\n"));
    passed = false;
  } else {
    Out(StrCat("PASS: Stddev is ", Fixed(deviation, 6), "s\n"));
  }
  Out(passed ? "PASS\n" : "FAIL\n");
  return passed ? kExitOk : kExitError;
}

int Perf(Session* session) {
  const std::string& name = session->values().GetString("load");
  const Workload* workload = WorkloadOf(name);
  if (workload == nullptr) return Fail(kExitBadFeature, StrCat("unknown load option ", name));
  session->credentials();
  Interruption interruption;
  const SignalWatch signals(&interruption);
  if (const int code = CheckPrefix(session, "'"); code != kExitOk) return code;
  PutLoadOptions load = LoadOf(session, *workload);
  load.puts_per_second = workload->puts_per_second;
  load.duration_ns = kPerfSeconds * kNanosPerSecond;
  load.key_bytes = 256;
  load.value_bytes = 1024;
  ShowProgress(&load, workload->puts_per_second * kPerfSeconds);
  const PutLoadResult result = RunPutLoad(load, &interruption);
  const int cleaned = CleanUp(session);
  const int judged = Judge(result, workload->puts_per_second);
  return judged != kExitOk ? judged : cleaned;
}

// --- check datascale

// The server's resident memory, as its metrics tell it.
std::optional<double> ResidentBytes(const std::string& endpoint) {
  constexpr std::string_view kMetric = "\nprocess_resident_memory_bytes ";
  const auto metrics = HttpGet(endpoint, "/metrics");
  if (!metrics.ok()) {
    Out(StrCat("fetch error: ", ToStd(metrics.status().message()), "\n"));
    return std::nullopt;
  }
  const size_t at = metrics->find(kMetric);
  double bytes = 0;
  if (at != std::string::npos) {
    const char* begin = metrics->data() + at + kMetric.size();
    std::from_chars(begin, metrics->data() + metrics->size(), bytes);
  }
  if (bytes > 0) return bytes;
  Out("could not find: process_resident_memory_bytes\n");
  return std::nullopt;
}

int NoMemory(std::string_view when) {
  Out(StrCat("FAIL: Could not read process_resident_memory_bytes ", when,
             " the put operations.\n"));
  return kExitError;
}

int Datascale(Session* session) {
  const std::string& name = session->values().GetString("load");
  const Workload* workload = WorkloadOf(name);
  if (workload == nullptr) return Fail(kExitBadFeature, StrCat("unknown load option ", name));
  session->credentials();
  Interruption interruption;
  const SignalWatch signals(&interruption);
  if (const int code = CheckPrefix(session, ""); code != kExitOk) return code;
  const std::string endpoint = session->values().GetList("endpoints")[0];
  const auto before = ResidentBytes(endpoint);
  if (!before) return NoMemory("before");
  Out(StrCat("Start data scale check for work load [", workload->puts, " key-value pairs, ",
             kDatascalePairBytes, " bytes per key-value, ", workload->clients,
             " concurrent clients].\n"));
  PutLoadOptions load = LoadOf(session, *workload);
  load.puts = workload->puts;
  load.key_bytes = kDatascalePairBytes / 2;
  load.value_bytes = kDatascalePairBytes / 2;
  ShowProgress(&load, workload->puts);
  const PutLoadResult result = RunPutLoad(load, &interruption);
  const auto after = ResidentBytes(endpoint);
  if (const int code = CleanUp(session); code != kExitOk) return code;
  if (!after) return NoMemory("after");
  if (PrintErrors(result)) return kExitError;
  if (interruption.raised()) return Fail(kExitInterrupted, "interrupted");
  Out(StrCat("PASS: Approximate system memory used : ", Fixed((*after - *before) / (1 << 20), 2),
             " MB.\n"));
  return kExitOk;
}

std::vector<OptionSpec> Flags(const std::string& prefix) {
  return {{"load", Type::kString, "s", "s(mall), m(edium), l(arge) or xl (xLarge).", ""},
          {"prefix", Type::kString, prefix, "Of the keys that it writes and deletes.", ""},
          {"auto-compact", Type::kBool, "false", "Compacts the history afterwards.", ""},
          {"auto-defrag", Type::kBool, "false", "Defragments all endpoints afterwards.", ""}};
}

}  // namespace

std::vector<Command> CheckCommands() {
  return {
      {"check perf", "[options]", "Puts for a minute and judges rate and latency",
       Flags("/etcdctl-check-perf/"), Perf,
       "Puts per second and clients: s 150 and 50, m 1,000 and 200, l 8,000 and 500, xl 15,000\n"
       "and 1,000. It passes with nine tenths of the rate, no put above 0.5 s, a standard "
       "deviation\n"
       "below 0.1 s and no error. Ctrl-C ends it early and cleans up."},
      {"check datascale", "[options]", "Puts many keys and tells how the server's memory grows",
       Flags("/etcdctl-check-datascale/"), Datascale,
       "Pairs of 1 KiB: s 10,000, m 100,000, l 1,000,000, xl 3,000,000. The first endpoint's\n"
       "/metrics is read before and after."},
  };
}

}  // namespace quorate::ctl
