// ProxyServer: the whole of `quorate grpc-proxy`. Network threads take calls in; one loop has the
// connections to the members, what is cached and who shares which watch.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "proxy/call_log.h"
#include "proxy/cluster_proxy.h"
#include "proxy/key_namespace.h"
#include "proxy/kv_proxy.h"
#include "proxy/lease_proxy.h"
#include "proxy/proxy_config.h"
#include "proxy/proxy_counters.h"
#include "proxy/watch_proxy.h"
#include "proxy/watch_ranges.h"
#include "server/cpu_profiler.h"
#include "server/rpc_metrics.h"
#include "server/worker_pool.h"
#include "transport/server.h"

namespace quorate::proxy {

class ProxyServer {
 public:
  // Listens and serves. Errors are those of Bind and of endpoints that are none.
  static absl::StatusOr<std::unique_ptr<ProxyServer>> Start(const ProxyConfig& config);
  // Lets calls end, takes the registration back, and ends.
  ~ProxyServer();

 private:
  explicit ProxyServer(const ProxyConfig& config);
  absl::Status Build();  // loop thread
  absl::Status Listen();
  void SyncEndpoints();
  // Runs `work` on the loop and waits until it calls `done`.
  void OnLoop(const std::function<void(std::function<void()> done)>& work);

  const ProxyConfig config_;
  const SystemClock clock_;
  const KeyNamespace space_;
  ProxyCounters counters_;
  server::WorkerPool workers_{1};
  std::unique_ptr<server::CpuProfiler> profiler_;  // null without --enable-pprof
  transport::EventLoop loop_;

  // Made and destroyed on the loop, in this order and the other way round.
  std::unique_ptr<Upstream> upstream_;
  std::unique_ptr<KvProxy> kv_;
  std::unique_ptr<LeaseProxy> leases_;
  std::unique_ptr<WatchRanges> ranges_;
  std::unique_ptr<WatchProxy> watches_;
  std::unique_ptr<ClusterProxy> cluster_;
  transport::EventLoop::TimerId sync_timer_ = 0;

  transport::ServiceTable table_;
  std::optional<server::RpcMetrics> rpc_metrics_;
  std::optional<CallLog> call_log_;
  std::unique_ptr<transport::ServerTransport> transport_;
  std::unique_ptr<transport::ServerTransport> metrics_transport_;  // null without --metrics-addr
  std::thread thread_;
};

}  // namespace quorate::proxy
