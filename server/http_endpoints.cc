#include "server/http_endpoints.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "base/text.h"
#include "server/debug_vars.h"
#include "server/gateway/websocket_request.h"
#include "server/http_texts.h"
#include "server/peer_endpoints.h"
#include "server/profile_endpoint.h"
#include "server/services/gate.h"
#include "transport/websocket.h"

namespace quorate::server {
namespace {

using transport::HttpRequest;
using transport::HttpResponse;
using ReplyFn = std::function<void(HttpResponse)>;

bool HasQuery(const std::string& query, std::string_view key) {
  for (std::string_view item : StrSplit(query, '&')) {
    if (item == key || item.starts_with(StrCat(key, "="))) return true;
  }
  return false;
}

// Runs `then` with the error text of a read ("" = it worked).
void TryRead(ServiceContext& context, Read::Consistency consistency,
             std::function<void(std::string error)> then) {
  Read read;
  read.consistency = consistency;
  read.deadline_ns = context.clock->MonotonicNs() + context.config->RequestTimeoutNs();
  read.run = [then](engine::Engine&) { then(""); };
  read.fail = [then](engine::Error error) { then(error.message); };
  if (!context.loop->ReadState(std::move(read))) then("etcdserver: too many requests");
}

// --- /health

void Health(ServiceContext* context, MetricsSources* metrics, const HttpRequest& request,
            ReplyFn reply) {
  const std::set<std::string> excluded = QueryValues(request.query, "exclude");
  const bool serializable = QueryValues(request.query, "serializable").contains("true");
  const auto answer = [metrics, reply](const std::string& reason) {
    (reason.empty() ? metrics->health_success : metrics->health_failures).fetch_add(1);
    if (reason.empty()) {
      return reply({200, {{"Content-Type", kPlainText}}, R"({"health":"true","reason":""})"});
    }
    reply({503,
           {{"Content-Type", kPlainText}},
           StrCat(R"({"health":"false","reason":")", reason, "\"}\n")});
  };
  context->loop->Run([=](Replica& replica) {
    for (const etcdserverpb::AlarmMember& alarm : replica.engine().alarms()) {
      const std::string name = etcdserverpb::AlarmType_Name(alarm.alarm());
      if (!excluded.contains(name)) return answer("ALARM " + name);
    }
    if (!serializable && replica.raft().leader().value() == 0) return answer("RAFT NO LEADER");
    TryRead(*context, serializable ? Read::Consistency::kLocal : Read::Consistency::kLinearizable,
            [answer](const std::string& error) {
              answer(error.empty() ? "" : StrCat("RANGE ERROR:", error));
            });
  });
}

// --- /livez, /readyz

struct CheckResult {
  std::string name;
  std::string error;  // empty = ok
};

// One round of named checks, answered when the last result is in. Results arrive on the replica
// thread, one at a time.
class CheckRound : public std::enable_shared_from_this<CheckRound> {
 public:
  CheckRound(std::vector<std::string> names, bool verbose, HealthCheckCounts* counts, ReplyFn reply)
      : names_(std::move(names)), verbose_(verbose), counts_(counts), reply_(std::move(reply)) {}

  void Run(ServiceContext* context) {
    if (names_.empty()) return Finish();
    context->loop->Run([self = shared_from_this(), context](Replica& replica) {
      for (const std::string& name : self->names_) self->RunOne(name, context, replica);
    });
  }

 private:
  void RunOne(const std::string& name, ServiceContext* context, Replica& replica) {
    const auto done = [self = shared_from_this(), name](const std::string& error) {
      self->Add({name, error});
    };
    if (name == "data_corruption") {
      done(replica.engine().HasAlarm(etcdserverpb::CORRUPT) ? "alarm activated: CORRUPT" : "");
    } else if (name == "serializable_read") {
      TryRead(*context, Read::Consistency::kLocal, done);
    } else if (name == "linearizable_read") {
      TryRead(*context, Read::Consistency::kLinearizable, done);
    } else {
      done(context->loop->counters().learner.load() ? "not supported for learner" : "");
    }
  }

  void Add(CheckResult result) {
    using Outcome = HealthCheckCounts::Outcome;
    counts_->Add(result.name, result.error.empty() ? Outcome::kSuccess : Outcome::kError);
    results_.push_back(std::move(result));
    if (results_.size() == names_.size()) Finish();
  }

  void Finish() {
    const bool failed = std::any_of(results_.begin(), results_.end(),
                                    [](const CheckResult& r) { return !r.error.empty(); });
    std::string body;
    for (const CheckResult& result : results_) {
      if (!result.error.empty()) {
        StrAppend(&body, "[-]", result.name, " failed: ", result.error, "\n");
      } else if (verbose_ || failed) {
        StrAppend(&body, "[+]", result.name, " ok\n");
      }
    }
    body += failed ? "\n" : "ok\n";  // a report of failure ends with an empty line
    reply_(Text(failed ? 503 : 200, std::move(body)));
  }

  const std::vector<std::string> names_;
  const bool verbose_;
  HealthCheckCounts* const counts_;
  const ReplyFn reply_;
  std::vector<CheckResult> results_;
};

void Checks(ServiceContext* context, HealthCheckCounts* counts, std::string_view one,
            const HttpRequest& request, ReplyFn reply) {
  std::vector<std::string> names;
  const std::set<std::string> excluded = QueryValues(request.query, "exclude");
  for (const std::string& name : counts->names()) {
    if (one.empty() ? !excluded.contains(name) : one == name) names.push_back(name);
  }
  if (!one.empty() && names.empty()) return reply(NotFound());
  std::make_shared<CheckRound>(names, HasQuery(request.query, "verbose"), counts, std::move(reply))
      ->Run(context);
}

// --- /metrics, /version

void Metrics(ServiceContext* context, MetricsSources* metrics, ReplyFn reply) {
  context->loop->Run([=](Replica& replica) {
    context->workers->Submit([metrics, reply, view = EngineView::Of(replica)] {
      reply({200,
             {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"}},
             FormatMetrics(*metrics, view)});
      metrics->scrapes.fetch_add(1);
    });
  });
}

void Version(ServiceContext* context, ReplyFn reply) {
  context->loop->Run([reply](Replica& replica) {
    reply({200, {{"Content-Type", "application/json"}}, VersionJson(replica.engine())});
  });
}

void DebugVars(ServiceContext* context, MetricsSources* metrics, ReplyFn reply) {
  context->loop->Run([=](Replica& replica) {
    context->workers->Submit([metrics, reply, status = replica.raft().status()] {
      reply({200,
             {{"Content-Type", "application/json; charset=utf-8"}},
             FormatDebugVars(status, metrics->allocator->Stats())});
    });
  });
}

// Routes that clients and metrics listeners share; false = not one of them.
bool ServeCommon(ServiceContext* context, MetricsSources* metrics, const HttpRequest& request,
                 const ReplyFn& reply) {
  std::string_view path = request.path;
  if (path == "/metrics") {
    Metrics(context, metrics, reply);
    return true;
  }
  const bool is_health = path == "/health";
  const bool is_live = ConsumePrefix(&path, "/livez");
  const bool is_ready = !is_live && ConsumePrefix(&path, "/readyz");
  if (!is_health && !is_live && !is_ready) return false;
  if (!is_health && !path.empty() && path.front() != '/') return false;
  if (request.method != "GET") {
    reply(MethodNotAllowed());
  } else if (is_health) {
    Health(context, metrics, request, reply);
  } else {
    ConsumePrefix(&path, "/");
    Checks(context, is_live ? &metrics->livez : &metrics->readyz, path, request, reply);
  }
  return true;
}

bool Lists(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), "*") != list.end() ||
         std::find(list.begin(), list.end(), item) != list.end();
}

bool HostAllowed(const ServerConfig& config, const HttpRequest& request) {
  std::string host(request.Header("host").value_or(""));
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && !host.ends_with(']')) host.resize(colon);
  // Who speaks TLS has compared the name with the certificate.
  return request.encrypted || config.host_whitelist.empty() || Lists(config.host_whitelist, host);
}

// etcd's CORS triple, where the origin is allowed.
Gateway::Headers CorsHeaders(const ServerConfig& config, const HttpRequest& request) {
  const std::string origin(request.Header("origin").value_or(""));
  const bool any = Lists(config.cors, "*");
  if (!any && (origin.empty() || !Lists(config.cors, origin))) return {};
  return {{"Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"},
          {"Access-Control-Allow-Origin", any ? "*" : origin},
          {"Access-Control-Allow-Headers", "accept, content-type, authorization"}};
}

ReplyFn WithHeaders(Gateway::Headers headers, ReplyFn reply) {
  return [headers = std::move(headers), reply = std::move(reply)](HttpResponse response) {
    response.headers.insert(response.headers.end(), headers.begin(), headers.end());
    reply(std::move(response));
  };
}

// Clients of old say /v3beta/.
std::string RenameBeta(std::string_view path) {
  if (!ConsumePrefix(&path, "/v3beta/")) return std::string(path);
  return StrCat("/v3/", path);
}

// A user by certificate, at the gateway: as in etcd only tokens count there, and nobody shall
// wonder who he was taken for.
bool BringsUselessName(const ServiceContext& context, const HttpRequest& request) {
  return context.config->client_cert_auth && !request.peer_common_name.value_or("").empty() &&
         AuthIsOn(context);
}

}  // namespace

bool IsConversation(std::string_view path) { return Gateway::Converses(RenameBeta(path)); }

transport::HttpHandler MakeClientHttpHandler(ServiceContext* context, MetricsSources* metrics,
                                             const Gateway* gateway) {
  return [context, metrics, gateway](HttpRequest request, ReplyFn reply) {
    request.path = RenameBeta(request.path);
    if (!HostAllowed(*context->config, request)) {
      return reply(Text(421, StrCat("the host name \"", request.Header("host").value_or(""),
                                    "\" is not in --host-whitelist;\nadd it there or use "
                                    "a listed name\n")));
    }
    const bool for_gateway = gateway != nullptr && Gateway::Serves(request.path);
    if (for_gateway && BringsUselessName(*context, request)) {
      return reply(Text(400,
                        "CommonName of client sending a request against gateway will be "
                        "ignored and not used as expected\n"));
    }
    Gateway::Headers headers = CorsHeaders(*context->config, request);
    reply = WithHeaders(headers, std::move(reply));
    if (request.method == "OPTIONS") return reply({200, {}, ""});
    if (ServeCommon(context, metrics, request, reply)) return;
    if (gateway != nullptr && request.path == "/v3") {
      return reply({307, {{"Location", "/v3/"}}, ""});
    }
    if (for_gateway && transport::AsksForWebSocket(request)) {
      HttpResponse answer = transport::AnswerWebSocket(request);
      if (answer.status != 101) return reply(std::move(answer));
      request.exchange->SpeakWebSocket(std::move(answer));
      request = WebSocketRequest(std::move(request));
    }
    if (for_gateway) {
      return gateway->Serve(std::move(request), std::move(headers), std::move(reply));
    }
    if (request.path == "/debug/vars") return DebugVars(context, metrics, reply);
    if (request.path.starts_with("/debug/pprof")) {
      return ServeProfile(metrics->profiler, request, reply);
    }
    if (request.path != "/version") return reply(NotFound());
    if (request.method != "GET") return reply(MethodNotAllowed());
    Version(context, reply);
  };
}

transport::HttpHandler MakeMetricsHttpHandler(ServiceContext* context, MetricsSources* metrics) {
  return [context, metrics](const HttpRequest& request, const ReplyFn& reply) {
    if (!ServeCommon(context, metrics, request, reply)) reply(NotFound());
  };
}

}  // namespace quorate::server
