// ServerConfig: the option values as the server uses them, checked and resolved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/allocator.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/options.h"
#include "server/auto_compactor.h"
#include "server/discovery.h"
#include "server/feature_gates.h"
#include "server/security.h"
#include "transport/server.h"

namespace quorate::server {

// What this server says it is: etcd's API level, which harnesses parse.
inline constexpr char kEtcdVersion[] = "3.7.1";
inline constexpr char kClusterVersion[] = "3.7.0";
inline constexpr char kQuorateVersion[] = "0.1.0";

// Where spans go (docs/tracing.md); given only where tracing is switched on.
struct TracingConfig {
  std::string host;
  uint16_t port = 0;
  std::string service_name;
  std::string instance_id;    // empty: none
  int64_t sampling_rate = 0;  // per million
};

enum class InitialClusterState { kNew, kExisting };

struct ServerConfig {
  std::string name;
  std::string data_dir;
  std::string log_dir;      // <data-dir>/member/log or --wal-dir
  std::string backend_dir;  // <data-dir>/member/backend

  std::vector<std::string> listen_client_urls;
  std::vector<std::string> listen_client_http_urls;
  std::vector<std::string> listen_metrics_urls;
  std::vector<std::string> listen_peer_urls;
  std::vector<std::string> advertise_client_urls;
  std::vector<std::string> advertise_peer_urls;
  // Of a first start (server/bootstrap.h); a restart ignores them.
  std::string initial_cluster;
  std::string initial_cluster_token;
  DiscoveryConfig discovery;  // given: in place of initial_cluster
  InitialClusterState initial_cluster_state = InitialClusterState::kNew;
  bool force_new_cluster = false;
  bool strict_reconfig_check = true;
  uint32_t learners_max = 1;

  std::string backend;
  std::string allocator;
  AllocatorOptions allocator_options;
  uint32_t batch_entries_max = 0;
  uint64_t batch_bytes_max = 0;
  int64_t batch_linger_ns = 0;
  int64_t batch_pace_ns = 0;
  std::string log_sync;
  uint64_t log_segment_bytes = 0;
  uint64_t window_bytes_max = 0;
  int64_t backend_commit_interval_ns = 0;
  int64_t compaction_slice_ns = 0;
  uint32_t compaction_steps = 0;
  AutoCompaction auto_compaction;
  std::string transport;
  uint32_t io_threads = 0;
  uint32_t worker_threads = 0;

  uint64_t snapshot_count = 0;
  uint64_t catchup_entries = 0;
  int64_t tick_ns = 0;
  uint32_t election_ticks = 0;
  bool initial_election_tick_advance = true;
  bool pre_vote = true;
  FeatureGates feature_gates;
  int64_t corrupt_check_interval_ns = 0;  // 0 = never
  int64_t compact_hash_check_interval_ns = 0;
  int64_t downgrade_check_interval_ns = 0;  // 0 = never

  int64_t quota_bytes = 0;  // 0 = off
  uint32_t txn_ops_max = 0;
  uint64_t request_bytes_max = 0;
  uint32_t max_concurrent_streams = 0;
  int64_t keepalive_min_time_ns = 0;
  int64_t keepalive_interval_ns = 0;
  int64_t keepalive_timeout_ns = 0;
  bool reuse_port = false;
  bool memory_lock = false;
  int64_t watch_progress_interval_ns = 0;
  int64_t warning_apply_ns = 0;
  int64_t warning_unary_ns = 0;
  bool extensive_metrics = false;
  std::string auth_token = "simple";
  int64_t auth_token_ttl_ns = 0;
  uint32_t bcrypt_cost = 0;
  bool client_cert_auth = false;
  bool enable_pprof = false;
  bool gateway = true;
  std::optional<TracingConfig> tracing;
  std::vector<std::string> cors;
  std::vector<std::string> host_whitelist;
  LogConfig log;
  SecurityConfig security;
  TlsContexts tls;  // LoadTls

  int64_t ElectionTimeoutNs() const { return tick_ns * static_cast<int64_t>(election_ticks); }
  // The time after which a request without an answer is given up: 5 s + 2 election timeouts.
  int64_t RequestTimeoutNs() const;
};

// kInvalidArgument with etcd's texts where it has one.
absl::StatusOr<ServerConfig> MakeServerConfig(const OptionValues& values);

// etcd's --log-rotation-config-json; `outputs` must name one file.
absl::StatusOr<LogRotation> ParseLogRotation(const std::string& text,
                                             const std::vector<std::string>& outputs);

// "http://host:port", "https://host:port", "unix://path", "unixs://path". kInvalidArgument names
// the flag and the URL.
absl::StatusOr<transport::ListenAddress> ParseListenUrl(const std::string& url,
                                                        std::string_view flag);

}  // namespace quorate::server
