// The plain HTTP side of the client port: /version, /health, /livez, /readyz, /metrics
// (wire facts, http §2-4).
#pragma once

#include <memory>
#include <string>

#include "server/metrics.h"
#include "server/services/context.h"
#include "transport/server.h"

namespace quorate::server {

// Serves all of them; `context` and `metrics` outlive the handler.
transport::HttpHandler MakeClientHttpHandler(ServiceContext* context, MetricsSources* metrics);
// Only /metrics and health, without CORS headers (--listen-metrics-urls).
transport::HttpHandler MakeMetricsHttpHandler(ServiceContext* context, MetricsSources* metrics);

}  // namespace quorate::server
