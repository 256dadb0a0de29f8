// What the proxy answers over HTTP: /metrics (those of a member, fetched), /proxy/metrics (its
// own), /health and /proxy/health.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/key_namespace.h"
#include "proxy/proxy_counters.h"
#include "proxy/upstream.h"
#include "server/cpu_profiler.h"
#include "server/rpc_metrics.h"
#include "server/worker_pool.h"
#include "transport/server.h"

namespace quorate::proxy {

// All outlive the handler.
struct HttpParts {
  Upstream* upstream;
  const KeyNamespace* space;
  const ProxyCounters* counters;
  const server::RpcMetrics* rpc;
  server::WorkerPool* workers;    // for what waits
  server::CpuProfiler* profiler;  // null without --enable-pprof
  std::string metrics_url;        // "http://host:port" of a member, or without a scheme
  std::shared_ptr<transport::TlsContext> tls;
  bool advertised = false;  // there is an address at which clients find the proxy
};

transport::HttpHandler MakeProxyHttpHandler(const HttpParts& parts);

}  // namespace quorate::proxy
