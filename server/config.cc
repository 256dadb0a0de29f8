#include "server/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "base/clock.h"
#include "base/concerning.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/auth/password.h"
#include "transport/client.h"

namespace quorate::server {
namespace {

constexpr int64_t kDefaultTokenTtl = 300 * kNanosPerSecond;
constexpr int64_t kTokenTtlMaxSeconds = int64_t{100} * 365 * 86400;

absl::Status CheckUrls(const OptionValues& values, ServerConfig& config) {
  for (const std::string& url : config.listen_peer_urls) {
    if (auto parsed = ParseListenUrl(url, "listen-peer-urls"); !parsed.ok()) {
      return parsed.status();
    }
  }
  const bool listen_set = values.Source("listen-client-urls") != OptionSource::kDefault;
  const bool advertise_set = values.Source("advertise-client-urls") != OptionSource::kDefault;
  if (listen_set && !advertise_set) {
    return absl::InvalidArgumentError(
        "--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  return absl::OkStatus();
}

void SetCluster(const OptionValues& values, ServerConfig& config) {
  config.initial_cluster = values.GetString("initial-cluster");
  if (values.Source("initial-cluster") == OptionSource::kDefault) {
    std::vector<std::string> items;
    for (const std::string& url : config.advertise_peer_urls) {
      items.push_back(StrCat(config.name, "=", url));
    }
    config.initial_cluster = StrJoin(items, ",");
  }
  config.initial_cluster_token = values.GetString("initial-cluster-token");
  config.initial_cluster_state = values.GetString("initial-cluster-state") == "existing"
                                     ? InitialClusterState::kExisting
                                     : InitialClusterState::kNew;
  config.force_new_cluster = values.GetBool("force-new-cluster");
  config.strict_reconfig_check = values.GetBool("strict-reconfig-check");
  config.learners_max = static_cast<uint32_t>(values.GetInt("max-learners"));
}

absl::Status SetRaft(const OptionValues& values, ServerConfig& config) {
  const int64_t heartbeat_ms = values.GetInt("heartbeat-interval");
  const int64_t election_ms = values.GetInt("election-timeout");
  if (election_ms < 5 * heartbeat_ms) {
    return absl::InvalidArgumentError(
        StrCat("--election-timeout[", election_ms,
               "ms] should be at least as 5 times as --heartbeat-interval[", heartbeat_ms, "ms]"));
  }
  config.tick_ns = heartbeat_ms * kNanosPerMilli;
  config.election_ticks = static_cast<uint32_t>(election_ms / heartbeat_ms);
  config.initial_election_tick_advance = values.GetBool("initial-election-tick-advance");
  config.pre_vote = values.GetBool("pre-vote");
  // Unknown gates and values were refused while the flags were read.
  config.feature_gates = FeatureGates::Parse(values.GetString("feature-gates")).value();
  const auto or_default = [&](std::string_view name, uint64_t fallback) {
    const int64_t value = values.GetInt(name);
    return value == 0 ? fallback : static_cast<uint64_t>(value);
  };
  config.snapshot_count = or_default("snapshot-count", 10000);
  config.catchup_entries = or_default("snapshot-catchup-entries", 5000);
  return absl::OkStatus();
}

void SetStorage(const OptionValues& values, ServerConfig& config) {
  config.backend = values.GetString("backend");
  config.allocator = values.GetString("allocator");
  config.allocator_options.arena_bytes = static_cast<uint64_t>(values.GetInt("arena-bytes"));
  config.allocator_options.prefault = values.GetBool("arena-prefault")
                                          ? AllocatorOptions::Prefault::kYes
                                          : AllocatorOptions::Prefault::kNo;
  config.batch_entries_max = static_cast<uint32_t>(values.GetInt("batch-max-entries"));
  config.batch_bytes_max = static_cast<uint64_t>(values.GetInt("batch-max-bytes"));
  config.batch_linger_ns = values.GetInt("batch-linger");
  config.batch_pace_ns = values.GetInt("batch-pace");
  config.log_sync = values.GetBool("unsafe-no-fsync") ? "none" : values.GetString("log-sync");
  config.log_segment_bytes = static_cast<uint64_t>(values.GetInt("log-segment-bytes"));
  config.window_bytes_max = static_cast<uint64_t>(values.GetInt("window-bytes"));
  config.backend_commit_interval_ns = values.GetInt("backend-commit-interval");
  config.compaction_slice_ns = values.GetInt("compaction-slice");
  const int64_t steps = values.GetInt("compaction-batch-limit");
  config.compaction_steps = steps == 0 ? 1000 : static_cast<uint32_t>(steps);
  config.transport = values.GetString("transport");
  config.io_threads = static_cast<uint32_t>(values.GetInt("io-threads"));
  config.worker_threads = static_cast<uint32_t>(values.GetInt("worker-threads"));
}

absl::Status SetChecks(const OptionValues& values, ServerConfig& config) {
  config.corrupt_check_interval_ns = values.GetInt("corrupt-check-time");
  config.compact_hash_check_interval_ns = values.GetInt("compact-hash-check-time");
  config.downgrade_check_interval_ns = values.GetInt("downgrade-check-time");
  if (config.compact_hash_check_interval_ns > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("--compact-hash-check-time must be >0 (set to ",
                                           values.Text("compact-hash-check-time"), ")"));
}

void SetLimits(const OptionValues& values, ServerConfig& config) {
  const int64_t quota = values.GetInt("quota-backend-bytes");
  config.quota_bytes = quota == 0 ? int64_t{2} << 30 : std::max<int64_t>(quota, 0);
  config.txn_ops_max = static_cast<uint32_t>(values.GetInt("max-txn-ops"));
  config.request_bytes_max = static_cast<uint64_t>(values.GetInt("max-request-bytes"));
  config.max_concurrent_streams = static_cast<uint32_t>(values.GetInt("max-concurrent-streams"));
  config.keepalive_min_time_ns = values.GetInt("grpc-keepalive-min-time");
  config.keepalive_interval_ns = values.GetInt("grpc-keepalive-interval");
  config.keepalive_timeout_ns = values.GetInt("grpc-keepalive-timeout");
  config.reuse_port = values.GetBool("socket-reuse-port");
  config.memory_lock = values.GetBool("memory-mlock");
  const int64_t progress = values.GetInt("watch-progress-notify-interval");
  config.watch_progress_interval_ns =
      progress == 0 ? 600 * kNanosPerSecond : std::max(progress, 100 * kNanosPerMilli);
  config.warning_apply_ns = values.GetInt("warning-apply-duration");
  config.warning_unary_ns = values.GetInt("warning-unary-request-duration");
  config.extensive_metrics = values.GetString("metrics") == "extensive";
  config.enable_pprof = values.GetBool("enable-pprof");
  config.gateway = values.GetBool("enable-grpc-gateway");
  config.cors = values.GetList("cors");
  config.host_whitelist = values.GetList("host-whitelist");
}

void SetAuth(const OptionValues& values, ServerConfig& config) {
  config.auth_token = values.GetString("auth-token");
  const int64_t ttl_s = values.GetInt("auth-token-ttl");
  config.auth_token_ttl_ns =
      ttl_s == 0 ? kDefaultTokenTtl : std::min(ttl_s, kTokenTtlMaxSeconds) * kNanosPerSecond;
  const int64_t cost = values.GetInt("bcrypt-cost");
  config.bcrypt_cost = static_cast<uint32_t>(cost);
  if (cost < kBcryptCostMin || cost > kBcryptCostMax) {
    LogWarn("use default bcrypt cost instead of the invalid given cost",
            {{"min-cost", kBcryptCostMin},
             {"max-cost", kBcryptCostMax},
             {"default-cost", kBcryptCostDefault},
             {"given-cost", cost}});
    config.bcrypt_cost = kBcryptCostDefault;
  }
  config.client_cert_auth = values.GetBool("client-cert-auth");
}

absl::Status SetTracing(const OptionValues& values, ServerConfig& config) {
  if (!values.GetBool("enable-distributed-tracing")) return absl::OkStatus();
  const std::string& address = values.GetString("distributed-tracing-address");
  const absl::StatusOr<transport::Endpoint> collector = transport::ParseEndpoint(address);
  if (!collector.ok() || collector->scheme != transport::Endpoint::Scheme::kNone) {
    return absl::InvalidArgumentError(
        StrCat("--distributed-tracing-address: \"", address,
               "\" is no host:port; give a collector's for OTLP over gRPC in plain text, such as "
               "localhost:4317"));
  }
  TracingConfig tracing;
  tracing.host = collector->host;
  tracing.port = collector->port;
  tracing.service_name = values.GetString("distributed-tracing-service-name");
  tracing.instance_id = values.GetString("distributed-tracing-instance-id");
  tracing.sampling_rate = values.GetInt("distributed-tracing-sampling-rate");
  config.tracing = std::move(tracing);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LogRotation> ParseLogRotation(const std::string& text,
                                             const std::vector<std::string>& outputs) {
  static const auto* no_files =
      new std::set<std::string, std::less<>>{"default", "stderr", "stdout", "systemd/journal"};
  const auto files = std::count_if(outputs.begin(), outputs.end(), [](const std::string& output) {
    return !no_files->contains(output);
  });
  if (files != 1) {
    return absl::InvalidArgumentError(
        "--log-outputs requires a single file path when --enable-log-rotation is set");
  }
  const auto error = [](std::string_view what) {
    return absl::InvalidArgumentError(
        StrCat("--log-rotation-config-json: improperly formatted log rotation config: ", what));
  };
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, false);
  if (!object.is_object()) return error("not a JSON object");
  LogRotation rotation;
  for (const auto& [name, value] : object.items()) {
    const bool is_count = name == "maxsize" || name == "maxage" || name == "maxbackups";
    if (is_count && !value.is_number_unsigned()) return error(name + " wants a whole number");
    if (!is_count && !value.is_boolean()) return error(name + " wants true or false");
    const uint64_t number = is_count ? std::min<uint64_t>(value.get<uint64_t>(), 1 << 30) : 0;
    if (name == "maxsize") {
      rotation.bytes_max = (number == 0 ? 100 : number) << 20;
    } else if (name == "maxage") {
      rotation.age_days_max = static_cast<uint32_t>(number);
    } else if (name == "maxbackups") {
      rotation.backups_max = static_cast<uint32_t>(number);
    } else if (name == "localtime") {
      rotation.local_time = value.get<bool>();
    } else if (name != "compress") {
      return error("unknown key " + name);
    } else if (value.get<bool>()) {
      return error("compress is not available; compress full files from outside");
    }
  }
  return rotation;
}

int64_t ServerConfig::RequestTimeoutNs() const {
  return 5 * kNanosPerSecond + 2 * ElectionTimeoutNs();
}

absl::StatusOr<transport::ListenAddress> ParseListenUrl(const std::string& url,
                                                        std::string_view flag) {
  const auto error = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat("--", flag, ": ", what, ": \"", url, "\""));
  };
  transport::ListenAddress address;
  address.url = url;
  std::string_view rest = url;
  using Security = transport::ListenAddress::Security;
  const bool secure = rest.starts_with("https://") || rest.starts_with("unixs://");
  address.security = secure ? Security::kTls : Security::kPlain;
  if (ConsumePrefix(&rest, "unix://") || ConsumePrefix(&rest, "unixs://")) {
    if (rest.empty()) return error("a unix URL needs a path");
    address.unix_path = std::string(rest);
    return address;
  }
  if (!ConsumePrefix(&rest, "http://") && !ConsumePrefix(&rest, "https://")) {
    return error("URL scheme must be http, https, unix, or unixs");
  }
  if (rest.find('/') != std::string_view::npos) return error("URL must not contain a path");
  const size_t colon = rest.rfind(':');
  uint32_t port;
  if (colon == std::string_view::npos || !absl::SimpleAtoi(ToAbsl(rest.substr(colon + 1)), &port) ||
      port > 65535) {
    return error("URL address does not have the form \"host:port\"");
  }
  std::string_view host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) return error("URL has no host");
  address.host = std::string(host);
  address.port = static_cast<uint16_t>(port);
  return address;
}

absl::StatusOr<ServerConfig> MakeServerConfig(const OptionValues& values) {
  ServerConfig config;
  config.name = values.GetString("name");
  config.data_dir = values.GetString("data-dir");
  if (config.data_dir.empty()) config.data_dir = config.name + ".etcd";
  config.log_dir = values.GetString("wal-dir");
  if (config.log_dir.empty()) config.log_dir = config.data_dir + "/member/log";
  config.backend_dir = config.data_dir + "/member/backend";
  config.listen_client_urls = values.GetList("listen-client-urls");
  config.listen_client_http_urls = values.GetList("listen-client-http-urls");
  config.listen_metrics_urls = values.GetList("listen-metrics-urls");
  config.listen_peer_urls = values.GetList("listen-peer-urls");
  config.advertise_client_urls = values.GetList("advertise-client-urls");
  config.advertise_peer_urls = values.GetList("initial-advertise-peer-urls");
  SetCluster(values, config);
  QR_ASSIGN_OR_RETURN(config.discovery, MakeDiscoveryConfig(values));
  SetStorage(values, config);
  SetLimits(values, config);
  SetAuth(values, config);
  absl::StatusOr<AutoCompaction> auto_compaction = ParseAutoCompaction(
      values.GetString("auto-compaction-mode"), values.GetString("auto-compaction-retention"));
  if (!auto_compaction.ok()) return auto_compaction.status();
  config.auto_compaction = *auto_compaction;
  absl::Status status = SetRaft(values, config);
  if (status.ok()) status = SetChecks(values, config);
  if (status.ok()) status = CheckUrls(values, config);
  if (status.ok()) status = SetTracing(values, config);
  if (status.ok()) {
    status =
        Concerning("--log-level", ParseLogLevel(values.GetString("log-level"), &config.log.level));
  }
  if (!status.ok()) return status;
  absl::StatusOr<SecurityConfig> security = MakeSecurityConfig(values);
  if (!security.ok()) return security.status();
  config.security = *std::move(security);
  config.log.format = values.GetString("log-format") == "console" ? LogConfig::Format::kConsole
                                                                  : LogConfig::Format::kJson;
  config.log.outputs = values.GetList("log-outputs");
  if (values.GetBool("enable-log-rotation")) {
    absl::StatusOr<LogRotation> rotation =
        ParseLogRotation(values.GetString("log-rotation-config-json"), config.log.outputs);
    if (!rotation.ok()) return rotation.status();
    config.log.rotation = *rotation;
  }
  return config;
}

}  // namespace quorate::server
