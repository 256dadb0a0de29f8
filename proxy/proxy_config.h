// ProxyConfig: what the flags of `quorate grpc-proxy start` say, checked. Names, defaults and texts
// of errors are those of `etcd grpc-proxy start`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/options.h"
#include "proxy/cluster_proxy.h"
#include "proxy/upstream.h"
#include "transport/server.h"

namespace quorate::proxy {

std::vector<OptionSpec> ProxyOptionSpecs();

struct ProxyConfig {
  UpstreamOptions upstream;
  int64_t endpoints_sync_interval_ns = 0;  // 0: they stay as given
  std::string key_prefix;                  // --namespace
  ClusterProxy::Options cluster;
  transport::ServerOptions server;                  // its one address, and TLS
  std::optional<transport::ListenAddress> metrics;  // --metrics-addr
  bool ordered_reads = false;                       // --experimental-serializable-ordering
  bool log_calls = false;
  bool profiles = false;  // --enable-pprof
};

// Reads the files of TLS, and makes those of --auto-tls. kInvalidArgument says what is wrong.
absl::StatusOr<ProxyConfig> MakeProxyConfig(const OptionValues& values);

}  // namespace quorate::proxy
