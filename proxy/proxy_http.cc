#include "proxy/proxy_http.h"

#include <utility>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/text.h"
#include "proxy/health.h"
#include "server/http_client.h"
#include "server/http_texts.h"
#include "server/metrics_text.h"
#include "server/profile_endpoint.h"

namespace quorate::proxy {

using server::MetricsText;
using transport::HttpRequest;
using transport::HttpResponse;
using ReplyFn = std::function<void(HttpResponse)>;

namespace {

constexpr char kExposition[] = "text/plain; version=0.0.4";
constexpr int64_t kFetchTimeoutNs = 5 * kNanosPerSecond;

void Health(const HttpParts& parts, const HttpRequest& request,
            void (*check)(Upstream*, const KeyNamespace&, HealthDone), const ReplyFn& reply) {
  if (request.method != "GET") return reply(server::MethodNotAllowed());
  const auto answer = [reply](const std::string& reason) {
    if (reason.empty()) {
      return reply(
          {200, {{"Content-Type", server::kPlainText}}, R"({"health":"true","reason":""})"});
    }
    std::string body = R"({"health":"false","reason":)";
    AppendJsonString(reason, &body);
    reply(server::Text(503, body + "}\n"));
  };
  if (check == CheckReadAndWatch && !parts.advertised) return answer("no connection to proxy");
  parts.upstream->loop()->Post(
      [parts, check, answer] { check(parts.upstream, *parts.space, answer); });
}

void MemberMetrics(const HttpParts& parts, const HttpRequest& request, const ReplyFn& reply) {
  server::HttpCall call;
  call.url = parts.metrics_url;
  if (!call.url.starts_with("http")) {
    call.url = StrCat(request.encrypted ? "https://" : "http://", call.url);
  }
  call.path = "/metrics";
  call.timeout_ns = kFetchTimeoutNs;
  call.tls = parts.tls;
  parts.workers->Submit([call = std::move(call), reply] {
    const absl::StatusOr<server::HttpAnswer> answer = server::CallHttp(call);
    if (!answer.ok()) return reply(server::Text(500, "Internal server error\n"));
    reply({200, {{"Content-Type", kExposition}}, answer->body});
  });
}

std::string ProxyMetrics(const HttpParts& parts) {
  MetricsText text;
  const auto value = [](const auto& count) { return static_cast<double>(count.load()); };
  const ProxyCounters& counters = *parts.counters;
  text.Gauge("etcd_grpc_proxy_cache_hits_total", "Reads answered from memory.",
             value(counters.cache_hits));
  text.Gauge("etcd_grpc_proxy_cache_keys_total", "Answers kept in memory.",
             value(counters.cache_keys));
  text.Gauge("etcd_grpc_proxy_cache_misses_total",
             "Serializable reads that were not to be found in memory.",
             value(counters.cache_misses));
  text.Counter("etcd_grpc_proxy_events_coalescing_total",
               "Messages to watches that share another one's watch at the cluster.",
               value(counters.events_coalescing));
  text.Gauge("etcd_grpc_proxy_watchers_coalescing_total",
             "Watches that share another one's watch at the cluster.",
             value(counters.watchers_coalescing));
  parts.rpc->Write(server::RpcMetrics::Detail::kBasic, &text);
  return text.text();
}

}  // namespace

transport::HttpHandler MakeProxyHttpHandler(const HttpParts& parts) {
  return [parts](const HttpRequest& request, const ReplyFn& reply) {
    if (request.path == "/health") return Health(parts, request, CheckRead, reply);
    if (request.path == "/proxy/health") return Health(parts, request, CheckReadAndWatch, reply);
    if (request.path == "/metrics") return MemberMetrics(parts, request, reply);
    if (request.path == "/proxy/metrics") {
      return reply({200, {{"Content-Type", kExposition}}, ProxyMetrics(parts)});
    }
    if (request.path.starts_with("/debug/pprof")) {
      return server::ServeProfile(parts.profiler, request, reply);
    }
    reply(server::NotFound());
  };
}

}  // namespace quorate::proxy
