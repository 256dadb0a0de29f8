// What /metrics tells, under etcd's names where the thing exists here, under quorate_ where only we
// have it. Calls are counted on the hot path (server/rpc_metrics.h); the rest is gathered when
// somebody asks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/log/log_store.h"
#include "base/allocator.h"
#include "engine/engine.h"
#include "server/backend_writer.h"
#include "server/config.h"
#include "server/cpu_profiler.h"
#include "server/log_writer.h"
#include "server/metrics_text.h"
#include "server/peer_counters.h"
#include "server/replica_loop.h"
#include "server/rpc_metrics.h"
#include "server/tracing/span_exporter.h"
#include "transport/peer/peer_links.h"
#include "transport/server.h"

namespace quorate::server {

// What only the replica thread can see, copied there and formatted elsewhere.
struct EngineView {
  engine::Engine::Counters engine;
  engine::Lessor::Counters lessor;
  engine::WatchHub::Counters hub;
  Replica::ReadCounters reads;
  uint64_t live_keys = 0;
  std::vector<etcdserverpb::AlarmMember> alarms;
  std::string cluster_version;
  uint64_t auth_revision = 0;
  static EngineView Of(Replica& replica);
};

// Outcomes of the named checks of /livez or /readyz. Any thread.
class HealthCheckCounts {
 public:
  explicit HealthCheckCounts(std::vector<std::string> names) : names_(std::move(names)) {
    counts_ = std::vector<Count>(names_.size());
  }
  const std::vector<std::string>& names() const { return names_; }
  enum class Outcome { kSuccess, kError };
  void Add(std::string_view name, Outcome outcome);
  // The samples of etcd_server_healthcheck, and of etcd_server_healthchecks_total.
  void WriteLast(std::string_view type, MetricsText* out) const;
  void WriteTotals(std::string_view type, MetricsText* out) const;

 private:
  struct Count {
    std::atomic<uint64_t> success{0}, error{0};
    std::atomic<bool> last{false};
  };
  const std::vector<std::string> names_;
  std::vector<Count> counts_;
};

struct MetricsSources {
  const ServerConfig* config = nullptr;
  MemberId member;
  const RpcMetrics* rpc = nullptr;
  const SpanExporter* spans = nullptr;  // with --enable-distributed-tracing
  ReplicaLoop* loop = nullptr;
  const LogWriter* log_writer = nullptr;
  const BackendWriter* backend_writer = nullptr;
  const log::LogStore* log = nullptr;
  const Allocator* allocator = nullptr;
  const PeerCounters* peer_counters = nullptr;
  CpuProfiler* profiler = nullptr;  // with --enable-pprof
  std::function<transport::ServerStats()> transport_stats;
  std::function<std::vector<transport::PeerStats>()> peer_stats;
  // Outcomes of health checks, kept by the endpoints.
  std::atomic<uint64_t> health_success{0}, health_failures{0};
  HealthCheckCounts livez{{"serializable_read"}};
  HealthCheckCounts readyz{
      {"data_corruption", "serializable_read", "linearizable_read", "non_learner"}};
  std::atomic<uint64_t> scrapes{0};  // of /metrics, answered
};

// The whole exposition. Any thread.
std::string FormatMetrics(const MetricsSources& sources, const EngineView& view);

}  // namespace quorate::server
