#include "server/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/text.h"
#include "engine/auth/auth_store.h"

namespace quorate::server {
namespace {

using Type = MetricsText::Type;

constexpr auto kDiskBounds = Doubling<14>(0.001);
constexpr auto kStageBounds = Doubling<20>(0.000004);
constexpr double kSecond = 1e9;

double Load(const std::atomic<uint64_t>& value) {
  return static_cast<double>(value.load(std::memory_order_relaxed));
}

struct ProcessUse {
  double cpu_seconds = 0, resident_bytes = 0, virtual_bytes = 0, start_seconds = 0;
  double open_fds = 0, max_fds = 0, virtual_bytes_max = 0;
  double received_bytes = 0, sent_bytes = 0;  // all network devices, as Go's collector counts
};

// Field 22 of /proc/self/stat is the start in clock ticks since the machine's.
double StartSeconds() {
  std::ifstream stat("/proc/self/stat");
  std::string text;
  std::getline(stat, text);
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 2, text.size())));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  double uptime = 0;
  double ticks = 0;
  std::ifstream("/proc/uptime") >> uptime;
  if (!absl::SimpleAtod(field, &ticks)) return 0;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const double age = uptime - ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::floor((static_cast<double>(now.tv_sec) - age) * 100) / 100;
}

void ReadNetwork(ProcessUse* use) {
  std::ifstream devices("/proc/self/net/dev");
  for (std::string line; std::getline(devices, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::istringstream fields(line.substr(colon + 1));
    double count = 0;
    for (int field = 0; fields >> count; ++field) {
      if (field == 0) use->received_bytes += count;
      if (field == 8) use->sent_bytes += count;
    }
  }
}

ProcessUse ReadProcessUse() {
  ProcessUse use;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec / 1e6; };
  use.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  std::ifstream statm("/proc/self/statm");
  double pages_virtual = 0, pages_resident = 0;
  if (statm >> pages_virtual >> pages_resident) {
    const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
    use.virtual_bytes = pages_virtual * page;
    use.resident_bytes = pages_resident * page;
  }
  if (DIR* dir = opendir("/proc/self/fd")) {
    while (readdir(dir) != nullptr) ++use.open_fds;
    use.open_fds -= 3;  // ".", ".." and the listing itself
    closedir(dir);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) use.max_fds = static_cast<double>(limit.rlim_cur);
  if (getrlimit(RLIMIT_AS, &limit) == 0) {
    use.virtual_bytes_max = static_cast<double>(limit.rlim_cur);
  }
  use.start_seconds = StartSeconds();
  ReadNetwork(&use);
  return use;
}

void WriteProcess(MetricsText* out) {
  const ProcessUse use = ReadProcessUse();
  out->Counter("process_cpu_seconds_total", "User and system CPU time spent.", use.cpu_seconds);
  out->Gauge("process_max_fds", "Limit of open file descriptors.", use.max_fds);
  out->Gauge("process_open_fds", "Open file descriptors.", use.open_fds);
  out->Gauge("process_resident_memory_bytes", "Resident memory.", use.resident_bytes);
  out->Gauge("process_virtual_memory_bytes", "Virtual memory.", use.virtual_bytes);
  out->Gauge("process_virtual_memory_max_bytes", "Limit of virtual memory.", use.virtual_bytes_max);
  out->Gauge("process_start_time_seconds", "When the process began, since 1970.",
             use.start_seconds);
  out->Counter("process_network_receive_bytes_total", "Bytes that network devices received.",
               use.received_bytes);
  out->Counter("process_network_transmit_bytes_total", "Bytes that network devices sent.",
               use.sent_bytes);
  out->Gauge("os_fd_limit", "Limit of open file descriptors.", use.max_fds);
  out->Gauge("os_fd_used", "Open file descriptors.", use.open_fds);
}

void WriteServer(const MetricsSources& sources, const EngineView& view, MetricsText* out) {
  const ReplicaLoop::Counters& loop = sources.loop->counters();
  const bool leads = loop.leader.load() == sources.member.value();
  out->Family("etcd_server_version", Type::kGauge, "The API level this server speaks.");
  out->Sample({{"server_version", kEtcdVersion}}, 1);
  if (!view.cluster_version.empty()) {
    const std::vector<std::string_view> parts = StrSplit(view.cluster_version, '.');
    const std::string minor =
        parts.size() < 2 ? view.cluster_version : StrCat(parts[0], ".", parts[1]);
    out->Family("etcd_cluster_version", Type::kGauge, "The version the members agreed on.");
    out->Sample({{"cluster_version", minor}}, 1);
  }
  out->Family("etcd_server_id", Type::kGauge, "This member's id.");
  out->Sample({{"server_id", HexText(sources.member.value())}}, 1);
  out->Gauge("etcd_server_has_leader", "Whether a leader is known.", loop.leader.load() != 0);
  out->Gauge("etcd_server_is_leader", "Whether this member leads.", leads);
  out->Gauge("etcd_server_is_learner", "Whether this member is a learner.", loop.learner.load());
  out->Counter("etcd_server_leader_changes_seen_total", "Leader changes seen.",
               Load(loop.leader_changes));
  out->Gauge("etcd_server_proposals_committed_total", "Newest committed log index.",
             Load(loop.committed));
  out->Gauge("etcd_server_proposals_applied_total", "Newest applied log index.",
             Load(loop.applied));
  out->Gauge("etcd_server_proposals_pending", "Proposals that wait to be applied.",
             Load(loop.proposals_pending));
  out->Counter("etcd_server_proposals_failed_total", "Proposals that ended in an error.",
               Load(loop.proposals_failed));
  out->Counter("etcd_server_slow_apply_total", "Steps that took longer than the warning limit.",
               Load(loop.slow_applies));
  out->Counter("etcd_server_slow_read_indexes_total", "Read indexes that had to be asked for anew.",
               static_cast<double>(view.reads.asked_again));
  out->Counter("etcd_server_read_indexes_failed_total", "Reads that got no index in time.",
               static_cast<double>(view.reads.failed));
  out->Family("etcd_server_feature_enabled", Type::kGauge, "Feature gates; 1 is on.");
  for (const FeatureGate& gate : KnownFeatureGates()) {
    out->Sample({{"name", gate.name}, {"stage", gate.stage}},
                sources.config->feature_gates.On(gate.name) ? 1 : 0);
  }
  out->Gauge("etcd_server_quota_backend_bytes", "Size at which writes are refused.",
             static_cast<double>(sources.config->quota_bytes));
  out->Counter("etcd_server_health_success", "Health checks that passed.",
               Load(sources.health_success));
  out->Counter("etcd_server_health_failures", "Health checks that failed.",
               Load(sources.health_failures));
  out->Family("etcd_server_healthcheck", Type::kGauge, "Last outcome of a check, 1 is good.");
  sources.livez.WriteLast("livez", out);
  sources.readyz.WriteLast("readyz", out);
  out->Family("etcd_server_healthchecks_total", Type::kCounter, "Outcomes of checks.");
  sources.livez.WriteTotals("livez", out);
  sources.readyz.WriteTotals("readyz", out);
  out->Family("promhttp_metric_handler_requests_total", Type::kCounter, "Scrapes by status.");
  out->Sample({{"code", "200"}}, Load(sources.scrapes));
  out->Sample({{"code", "500"}}, 0);
  out->Sample({{"code", "503"}}, 0);
  if (!view.alarms.empty()) {
    out->Family("etcd_debugging_server_alarms", Type::kGauge, "Active alarms.");
    for (const etcdserverpb::AlarmMember& alarm : view.alarms) {
      out->Sample({{"alarm_type", etcdserverpb::AlarmType_Name(alarm.alarm())},
                   {"server_id", HexText(alarm.memberid())}},
                  1);
    }
  }
}

void WriteStore(const MetricsSources& sources, const EngineView& view, MetricsText* out) {
  const ReplicaLoop::Counters& loop = sources.loop->counters();
  const kv::KvSizes sizes = sources.backend_writer->sizes();
  out->Counter("etcd_mvcc_put_total", "Puts applied.", static_cast<double>(view.engine.puts));
  out->Counter("etcd_mvcc_delete_total", "Delete operations applied.",
               static_cast<double>(view.engine.deletes));
  out->Counter("etcd_mvcc_range_total", "Ranges answered.",
               static_cast<double>(view.engine.ranges));
  out->Counter("etcd_mvcc_txn_total", "Transactions.", static_cast<double>(view.engine.txns));
  out->Gauge("etcd_mvcc_db_total_size_in_bytes", "Space the backend takes.",
             static_cast<double>(sizes.on_disk));
  out->Gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Space that live data needs.",
             static_cast<double>(sizes.in_use));
  out->Gauge("etcd_debugging_mvcc_keys_total", "Live keys.", static_cast<double>(view.live_keys));
  out->Gauge("etcd_debugging_mvcc_current_revision", "Newest revision.",
             static_cast<double>(loop.revision.load()));
  out->Gauge("etcd_debugging_mvcc_compact_revision", "Newest compacted revision.",
             static_cast<double>(loop.compact_revision.load()));
  out->Counter("etcd_debugging_mvcc_db_compaction_keys_total", "Records removed by compaction.",
               static_cast<double>(view.engine.compacted_keys));
  out->Gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put.",
             static_cast<double>(view.engine.put_bytes));
  out->Counter("etcd_debugging_mvcc_events_total", "Watch events sent.",
               static_cast<double>(view.hub.events_sent));
  out->Gauge("etcd_debugging_mvcc_pending_events_total", "Watch events that wait.",
             static_cast<double>(view.hub.pending_events));
  out->Gauge("etcd_debugging_mvcc_slow_watcher_total", "Watches that are catching up.",
             static_cast<double>(view.hub.slow_watchers));
  out->Gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.",
             static_cast<double>(view.hub.streams));
  out->Gauge("etcd_debugging_mvcc_watcher_total", "Open watches.",
             static_cast<double>(view.hub.watchers));
  out->Gauge("etcd_debugging_auth_revision", "The current revision of auth store.",
             static_cast<double>(view.auth_revision));
  out->Counter("etcd_debugging_lease_granted_total", "Leases granted.",
               static_cast<double>(view.lessor.granted));
  out->Counter("etcd_debugging_lease_revoked_total", "Leases revoked.",
               static_cast<double>(view.lessor.revoked));
  out->Counter("etcd_debugging_lease_renewed_total", "Leases renewed.",
               static_cast<double>(view.lessor.renewed));
  out->Counter("etcd_debugging_server_lease_expired_total", "Leases that expired.",
               static_cast<double>(view.lessor.expired));
}

void WriteDisk(const MetricsSources& sources, MetricsText* out) {
  out->Family("etcd_disk_wal_fsync_duration_seconds", Type::kHistogram, "Log syncs.");
  out->HistogramSample({}, sources.log_writer->sync_durations().Snapshot(), kDiskBounds, kSecond);
  out->Family("etcd_disk_wal_write_duration_seconds", Type::kHistogram, "Log appends.");
  out->HistogramSample({}, sources.log_writer->append_durations().Snapshot(), kDiskBounds, kSecond);
  out->Gauge("etcd_disk_wal_write_bytes_total", "Bytes appended to the log.",
             static_cast<double>(sources.log->stats().bytes_appended));
  out->Family("etcd_disk_backend_commit_duration_seconds", Type::kHistogram,
              "Writes to the backend, in the background.");
  out->HistogramSample({}, sources.backend_writer->write_durations().Snapshot(), kDiskBounds,
                       kSecond);
}

void WritePeers(const MetricsSources& sources, MetricsText* out) {
  using Stats = transport::PeerStats;
  const std::vector<Stats> peers = sources.peer_stats();
  const std::string local = HexText(sources.member.value());
  const auto between = [&](const char* name, Type type, const char* help, auto value) {
    out->Family(name, type, help);
    for (const Stats& peer : peers) {
      out->Sample({{"Local", local}, {"Remote", HexText(peer.id.value())}}, value(peer));
    }
  };
  between("etcd_network_known_peers", Type::kGauge, "Other members.",
          [](const Stats&) { return 1.0; });
  between("etcd_network_active_peers", Type::kGauge, "Other members that are reached.",
          [](const Stats& peer) { return peer.active ? 1.0 : 0.0; });
  between("etcd_network_disconnected_peers_total", Type::kCounter, "Losses of a member.",
          [](const Stats& peer) { return static_cast<double>(peer.disconnects); });
  const auto counter = [&](const char* name, const char* direction, const char* help,
                           uint64_t Stats::*value) {
    out->Family(name, Type::kCounter, help);
    for (const Stats& peer : peers) {
      out->Sample({{direction, HexText(peer.id.value())}}, static_cast<double>(peer.*value));
    }
  };
  counter("etcd_network_peer_sent_bytes_total", "To", "Raft message bytes sent.",
          &Stats::sent_bytes);
  counter("etcd_network_peer_received_bytes_total", "From", "Raft message bytes received.",
          &Stats::received_bytes);
  counter("etcd_network_peer_sent_failures_total", "To", "Raft messages that could not be sent.",
          &Stats::sent_failures);
  counter("etcd_network_peer_received_failures_total", "From",
          "Raft messages that could not be read.", &Stats::received_failures);
}

void WriteOwn(const MetricsSources& sources, MetricsText* out) {
  out->Family("quorate_stage_duration_seconds", Type::kHistogram,
              "Time a write spends until it reaches a stage, from the one before; received: all.");
  for (size_t i = 0; i < kStageCount; ++i) {
    const Stage stage = static_cast<Stage>(i);
    out->HistogramSample({{"stage", StageName(stage)}}, sources.loop->stages().Snapshot(stage),
                         kStageBounds, kSecond);
  }
  out->Gauge("quorate_window_bytes", "Applied changes that the backend does not have yet.",
             Load(sources.loop->counters().window_bytes));
  out->Counter("quorate_backend_written_bytes_total", "Bytes handed to the backend.",
               static_cast<double>(sources.backend_writer->bytes_written()));
  const AllocatorStats memory = sources.allocator->Stats();
  out->Gauge("quorate_allocator_in_use_bytes", "Memory handed out by the chosen allocator.",
             static_cast<double>(memory.bytes_in_use));
  out->Gauge("quorate_allocator_reserved_bytes", "Memory it took from the system.",
             static_cast<double>(memory.bytes_reserved));
  const transport::ServerStats transport = sources.transport_stats();
  out->Gauge("quorate_client_connections", "Open client connections.",
             static_cast<double>(transport.connections));
  out->Gauge("quorate_client_streams", "Open calls.", static_cast<double>(transport.streams));
  out->Counter("quorate_protocol_errors_total", "Connections ended for broken protocol.",
               static_cast<double>(transport.protocol_errors));
  const SpanExporter* const spans = sources.spans;
  out->Counter("quorate_spans_sent_total", "Spans that the trace collector took.",
               spans == nullptr ? 0 : Load(spans->counts().sent));
  out->Counter("quorate_spans_dropped_total", "Spans that found no room or were refused.",
               spans == nullptr ? 0 : Load(spans->counts().dropped));
}

}  // namespace

void HealthCheckCounts::Add(std::string_view name, Outcome outcome) {
  const auto at = std::find(names_.begin(), names_.end(), name);
  QR_CHECK(at != names_.end());
  Count& count = counts_[static_cast<size_t>(at - names_.begin())];
  (outcome == Outcome::kSuccess ? count.success : count.error).fetch_add(1);
  count.last.store(outcome == Outcome::kSuccess);
}

void HealthCheckCounts::WriteLast(std::string_view type, MetricsText* out) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    out->Sample({{"name", names_[i]}, {"type", type}}, counts_[i].last.load() ? 1 : 0);
  }
}

void HealthCheckCounts::WriteTotals(std::string_view type, MetricsText* out) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    out->Sample({{"name", names_[i]}, {"status", "error"}, {"type", type}}, Load(counts_[i].error));
    out->Sample({{"name", names_[i]}, {"status", "success"}, {"type", type}},
                Load(counts_[i].success));
  }
}

EngineView EngineView::Of(Replica& replica) {
  engine::Engine& engine = replica.engine();
  return {engine.counters(),        engine.lessor().counters(), replica.hub().counters(),
          replica.read_counters(),  engine.live_keys(),         engine.alarms(),
          engine.cluster_version(), engine.auth().revision()};
}

std::string FormatMetrics(const MetricsSources& sources, const EngineView& view) {
  MetricsText out;
  WriteServer(sources, view, &out);
  WriteStore(sources, view, &out);
  WriteDisk(sources, &out);
  sources.rpc->Write(sources.config->extensive_metrics ? RpcMetrics::Detail::kExtensive
                                                       : RpcMetrics::Detail::kBasic,
                     &out);
  sources.rpc->WriteMaintenance(&out);
  WritePeers(sources, &out);
  sources.peer_counters->Write(&out);
  WriteOwn(sources, &out);
  WriteProcess(&out);
  return out.text();
}

}  // namespace quorate::server
