#include "server/peer_endpoints.h"

#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "proto/leasepb.pb.h"
#include "server/services/cluster_service.h"
#include "server/services/lease_forward.h"
#include "server/version_monitor.h"

namespace quorate::server {
namespace {

using engine::Error;
using transport::HttpRequest;
using transport::HttpResponse;
using ReplyFn = std::function<void(HttpResponse)>;

constexpr size_t kLeaseBodyBytesMax = 64 << 10;
// A renewal that has to wait for what is committed to be applied, or for a revocation.
constexpr int64_t kLeaseWaitNs = kNanosPerSecond;
constexpr char kPromotePath[] = "/members/promote/";

HttpResponse Text(int status, std::string_view text) {
  return {status,
          {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}},
          StrCat(text, "\n")};
}

HttpResponse WrongMethod(const char* allowed) {
  HttpResponse response = Text(405, "Method Not Allowed");
  response.headers.emplace_back("Allow", allowed);
  return response;
}

HttpResponse Json(const engine::Engine& engine, std::string body) {
  return {200,
          {{"Content-Type", "application/json"},
           {"X-Etcd-Cluster-ID", HexText(engine.header().cluster.value())}},
          std::move(body)};
}

std::string MembersJson(const engine::Engine& engine) {
  std::string body = "[";
  for (const etcdserverpb::Member& member : engine.members()) {
    StrAppend(&body, body.size() > 1 ? "," : "", engine::MemberToJson(member));
  }
  return body + "]\n";
}

void Promote(ServiceContext* context, const std::string& id_text, ReplyFn reply) {
  uint64_t id = 0;
  const char* const end = id_text.data() + id_text.size();
  const auto parsed = std::from_chars(id_text.data(), end, id);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return reply(Text(404, StrCat("member ", id_text, " not found in cluster")));
  }
  context->loop->Run([context, id, reply = std::move(reply)](Replica& replica) {
    PromoteAsLeader(*context, replica, MemberId(id), [reply](const Error& error, Replica& after) {
      if (error.ok()) return reply(Json(after.engine(), MembersJson(after.engine())));
      constexpr int kNotFound = 5;
      reply(Text(error.code == kNotFound ? 404 : 412, PromotionText(error)));
    });
  });
}

void HashKv(ServiceContext* context, const HttpRequest& request, ReplyFn reply) {
  const nlohmann::json body = nlohmann::json::parse(request.body, nullptr, false);
  if (!body.is_object()) return reply(Text(400, "error unmarshalling request"));
  const nlohmann::json revision_of = body.value("revision", nlohmann::json(0));
  if (!revision_of.is_number_integer()) return reply(Text(400, "error unmarshalling request"));
  const auto revision = revision_of.get<int64_t>();
  std::string cluster;
  for (const auto& [name, value] : request.headers) {
    if (name == "x-etcd-cluster-id") cluster = value;
  }
  const auto answer = [reply](const engine::Reply& hash) {
    if (!hash.error.ok()) {
      // Of peers, without what etcd's clients find before every error.
      std::string_view why = hash.error.message;
      if (why.starts_with("etcdserver: ")) why.remove_prefix(sizeof("etcdserver: ") - 1);
      return reply(Text(400, std::string(why)));
    }
    etcdserverpb::HashKVResponse response;
    response.ParseFromString(hash.body);
    reply({200,
           {{"Content-Type", "application/json"}},
           StrCat(R"({"header":{"revision":)", response.header().revision(), R"(},"hash":)",
                  response.hash(), R"(,"compact_revision":)", response.compact_revision(),
                  R"(,"hash_revision":)", response.hash_revision(), "}")});
  };
  Read read;
  read.consistency = Read::Consistency::kLocal;
  read.fail = [reply](const Error& error) { reply(Text(500, error.message)); };
  read.run = [context, cluster, revision, answer, reply](engine::Engine& engine) {
    if (!cluster.empty() && cluster != HexText(engine.header().cluster.value())) {
      return reply(Text(412, "cluster ID mismatch"));
    }
    auto result = engine.HashKv(revision);
    if (const auto* now = std::get_if<engine::Reply>(&result)) return answer(*now);
    context->workers->Submit([answer, job = std::get<std::unique_ptr<engine::ReadJob>>(
                                          std::move(result))] { answer(job->Run()); });
  };
  if (!context->loop->ReadState(std::move(read))) reply(Text(500, "too many requests"));
}

HttpResponse LeaseAnswer(const google::protobuf::MessageLite& message) {
  return {200, {{"Content-Type", "application/protobuf"}}, message.SerializeAsString()};
}

// Only the leader's clock answers; who asks a member that leads no more is told so.
HttpResponse LeaseRefusal(const Replica& replica) {
  if (replica.raft().role() != consensus::Role::kLeader) return Text(400, "not a primary lessor");
  return Text(408, "waiting for node to catch up its applied index has timed out");
}

void Renew(ServiceContext* context, const HttpRequest& request, ReplyFn reply) {
  etcdserverpb::LeaseKeepAliveRequest renewal;
  if (!renewal.ParseFromString(request.body)) {
    return reply(Text(400, "error unmarshalling request"));
  }
  context->loop->Run([context, id = LeaseId(renewal.id()), reply](Replica& replica) {
    if (!replica.engine().lessor().primary()) return reply(Text(400, "not a primary lessor"));
    RenewLease(*context, replica, id, context->clock->MonotonicNs() + kLeaseWaitNs,
               [id, reply](const Error& error, int64_t ttl, Replica& then) {
                 if (!error.ok()) return reply(LeaseRefusal(then));
                 if (ttl == 0) return reply(Text(404, "lease not found"));
                 etcdserverpb::LeaseKeepAliveResponse response;
                 response.set_id(id.value());
                 response.set_ttl(ttl);
                 reply(LeaseAnswer(response));
               });
  });
}

using TimeToLiveFn = std::function<void(const Error&, const engine::Lessor::TimeToLive&, Replica&)>;

TimeToLiveFn TimeToLiveReply(int64_t id, ReplyFn reply) {
  return [id, reply = std::move(reply)](const Error& error, const engine::Lessor::TimeToLive& lease,
                                        Replica& then) {
    if (!error.ok()) return reply(LeaseRefusal(then));
    if (lease.ttl_seconds < 0) return reply(Text(404, "lease not found"));
    leasepb::LeaseInternalResponse response;
    auto* answer = response.mutable_leasetimetoliveresponse();
    answer->set_id(id);
    answer->set_ttl(lease.ttl_seconds);
    answer->set_grantedttl(lease.granted_ttl_seconds);
    for (const std::string& key : lease.keys) answer->add_keys(key);
    reply(LeaseAnswer(response));
  };
}

void TimeToLive(ServiceContext* context, const HttpRequest& request, ReplyFn reply) {
  leasepb::LeaseInternalRequest wrapped;
  if (!wrapped.ParseFromString(request.body)) {
    return reply(Text(400, "error unmarshalling request"));
  }
  context->loop->Run([context, question = wrapped.leasetimetoliverequest(),
                      reply](Replica& replica) {
    if (!replica.engine().lessor().primary()) return reply(Text(400, "not a primary lessor"));
    const int64_t give_up_ns = context->clock->MonotonicNs() + kLeaseWaitNs;
    // The member that asks may have applied, and told its client of, what is not applied here yet:
    // a leader whose disk is slow commits by the others' before it applies.
    Read read;
    read.deadline_ns = give_up_ns;
    read.fail = [context, reply](const Error&) {
      context->loop->Run([reply](Replica& then) { reply(LeaseRefusal(then)); });
    };
    read.run = [context, question, give_up_ns, reply](engine::Engine&) {
      context->loop->Run([context, question, give_up_ns, reply](Replica& then) {
        AskTimeToLive(*context, then, question, give_up_ns, TimeToLiveReply(question.id(), reply));
      });
    };
    replica.ReadState(std::move(read));
  });
}

void Leases(ServiceContext* context, const HttpRequest& request, const ReplyFn& reply) {
  if (request.method != "POST") return reply(WrongMethod("POST"));
  if (request.body.size() > kLeaseBodyBytesMax) return reply(Text(413, "request body too large"));
  if (request.path == "/leases") return Renew(context, request, reply);
  TimeToLive(context, request, reply);
}

void DowngradeEnabled(ServiceContext* context, const ReplyFn& reply) {
  Read read;
  read.deadline_ns = context->clock->MonotonicNs() + context->config->RequestTimeoutNs();
  read.run = [reply](engine::Engine& engine) {
    reply({200,
           {{"Content-Type", "text/plain; charset=utf-8"}},
           engine.downgrade().enabled ? "true" : "false"});
  };
  read.fail = [reply](const Error& error) {
    reply(Text(500, StrCat("failed linearized read: ", error.message)));
  };
  if (!context->loop->ReadState(std::move(read))) reply(Text(500, "too many requests"));
}

}  // namespace

std::string VersionJson(const engine::Engine& engine) {
  const std::string cluster = engine.cluster_version();
  return StrCat(R"({"etcdserver":")", kEtcdVersion, R"(","etcdcluster":")",
                cluster.empty() ? "not_decided" : cluster, R"(","storage":")",
                cluster.empty() ? "unknown" : StorageVersion(cluster), "\"}");
}

transport::HttpHandler MakePeerHttpHandler(ServiceContext* context) {
  return [context](const HttpRequest& request, const ReplyFn& reply) {
    const std::string& path = request.path;
    if (path.starts_with(kPromotePath)) {
      if (request.method != "POST") return reply(WrongMethod("POST"));
      return Promote(context, path.substr(sizeof(kPromotePath) - 1), reply);
    }
    if (path == "/leases" || path == "/leases/internal") return Leases(context, request, reply);
    if (path == "/members/hashkv") {
      if (request.method != "GET") return reply(WrongMethod("GET"));
      return HashKv(context, request, reply);
    }
    if (path == "/downgrade/enabled") {
      if (request.method != "GET") return reply(WrongMethod("GET"));
      return DowngradeEnabled(context, reply);
    }
    if (path != "/version" && path != "/members") return reply(Text(404, "404 page not found"));
    if (request.method != "GET") return reply(WrongMethod("GET"));
    context->loop->Run([reply, is_version = path == "/version"](Replica& replica) {
      const engine::Engine& engine = replica.engine();
      reply(Json(engine, is_version ? VersionJson(engine) : MembersJson(engine)));
    });
  };
}

}  // namespace quorate::server
