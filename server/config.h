// ServerConfig: the option values as the server uses them, checked and resolved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/allocator.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/options.h"
#include "transport/server.h"

namespace quorate::server {

// What this server says it is: etcd's API level, which harnesses parse.
inline constexpr char kEtcdVersion[] = "3.7.1";
inline constexpr char kClusterVersion[] = "3.7.0";
inline constexpr char kQuorateVersion[] = "0.1.0";

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
  std::string initial_cluster_token;
  // Of a first start: from the peer URLs and the token. A restart takes its ids from the log and
  // ignores the initial-* options, so trouble with them is only `identity_status`.
  MemberId member;
  ClusterId cluster;
  absl::Status identity_status;

  std::string backend;
  std::string allocator;
  AllocatorOptions allocator_options;
  uint32_t batch_entries_max = 0;
  uint64_t batch_bytes_max = 0;
  int64_t batch_linger_ns = 0;
  std::string log_sync;
  uint64_t log_segment_bytes = 0;
  uint64_t window_bytes_max = 0;
  int64_t backend_commit_interval_ns = 0;
  int64_t compaction_slice_ns = 0;
  uint32_t compaction_steps = 0;
  std::string transport;
  uint32_t io_threads = 0;
  uint32_t worker_threads = 0;

  uint64_t snapshot_count = 0;
  uint64_t catchup_entries = 0;
  int64_t tick_ns = 0;
  uint32_t election_ticks = 0;
  bool initial_election_tick_advance = true;
  bool pre_vote = true;

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
  std::vector<std::string> cors;
  std::vector<std::string> host_whitelist;
  LogConfig log;

  // The time after which a request without an answer is given up: 5 s + 2 election timeouts.
  int64_t RequestTimeoutNs() const;
};

// kInvalidArgument with etcd's texts where it has one.
absl::StatusOr<ServerConfig> MakeServerConfig(const OptionValues& values);

// "http://host:port", "unix://path". kInvalidArgument names the flag and the URL.
absl::StatusOr<transport::ListenAddress> ParseListenUrl(const std::string& url,
                                                        std::string_view flag);

// etcd's ids (wire facts, semantics §8): SHA-1 over sorted peer URLs and token; over member ids.
MemberId ComputeMemberId(std::vector<std::string> peer_urls, std::string_view token);
ClusterId ComputeClusterId(std::vector<MemberId> members);

}  // namespace quorate::server
