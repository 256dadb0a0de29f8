// The HTTP side of the client port: /version, /health, /livez, /readyz, /metrics (wire facts, http
// §2-4), and the way to the gateway's /v3/ (§5).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/gateway/gateway.h"
#include "server/metrics.h"
#include "server/services/context.h"
#include "transport/server.h"

namespace quorate::server {

// Serves all of them; what is given outlives the handler. No gateway: /v3/ is not found.
transport::HttpHandler MakeClientHttpHandler(ServiceContext* context, MetricsSources* metrics,
                                             const Gateway* gateway);
// Of which paths requests are answered while their bodies come (ServerOptions).
bool IsConversation(std::string_view path);
// Only /metrics and health, without CORS headers (--listen-metrics-urls).
transport::HttpHandler MakeMetricsHttpHandler(ServiceContext* context, MetricsSources* metrics);

}  // namespace quorate::server
