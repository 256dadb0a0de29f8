#include "server/services/lease_forward.h"

#include <optional>
#include <utility>

#include "proto/leasepb.pb.h"
#include "server/http_client.h"
#include "server/services/cluster_service.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Lessor;

constexpr int64_t kAskTimeoutNs = kNanosPerSecond;
constexpr int kNotFound = 404;

// Asks the leader's peer URL; `done` gets what it said, or nothing when it did not.
void AskLeader(ServiceContext& context, Replica& replica, const char* path, std::string body,
               std::function<void(std::optional<HttpAnswer>, Replica&)> done) {
  const std::optional<std::string> url = LeaderUrl(replica);
  if (!url) return done(std::nullopt, replica);
  context.peer_calls->Submit(
      [&context, path, url = *url, body = std::move(body), done = std::move(done)]() mutable {
        absl::StatusOr<HttpAnswer> answer =
            CallHttp({.url = url,
                      .method = "POST",
                      .path = path,
                      .headers = {{"Content-Type", "application/protobuf"}},
                      .body = std::move(body),
                      .timeout_ns = kAskTimeoutNs});
        std::optional<HttpAnswer> said;
        if (answer.ok() && (answer->status == 200 || answer->status == kNotFound)) {
          said = *std::move(answer);
        }
        context.loop->Run([said = std::move(said), done = std::move(done)](Replica& then) mutable {
          done(std::move(said), then);
        });
      });
}

}  // namespace

void RenewLease(ServiceContext& context, Replica& replica, LeaseId id, int64_t give_up_ns,
                std::function<void(Error, int64_t, Replica&)> done) {
  Lessor& lessor = replica.engine().lessor();
  const int64_t now_ns = context.clock->MonotonicNs();
  const bool decides = lessor.primary();
  // Another member may have answered the grant before it was applied here.
  const bool all_applied = replica.engine().applied_index() >= replica.raft().commit();
  const bool known = lessor.Exists(id) || all_applied;
  if (decides && known && !lessor.ExpiredNotRevoked(id, now_ns)) {
    return done({}, lessor.Renew(id, now_ns), replica);
  }
  if (now_ns >= give_up_ns) return done(engine::errors::kNoLeader, 0, replica);
  auto again = [&context, id, give_up_ns, done](Replica& later) {
    RenewLease(context, later, id, give_up_ns, done);
  };
  // Its revocation (or what is committed) is under way: the answer waits for it.
  if (decides) return replica.RunLater(std::move(again));
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(id.value());
  AskLeader(context, replica, "/leases", request.SerializeAsString(),
            [done, again](std::optional<HttpAnswer> said, Replica& then) {
              etcdserverpb::LeaseKeepAliveResponse response;
              if (said && said->status == kNotFound) return done({}, 0, then);
              if (!said || !response.ParseFromString(said->body)) return then.RunLater(again);
              done({}, response.ttl(), then);
            });
}

void AskTimeToLive(ServiceContext& context, Replica& replica,
                   const etcdserverpb::LeaseTimeToLiveRequest& request, int64_t give_up_ns,
                   std::function<void(Error, Lessor::TimeToLive, Replica&)> done) {
  Lessor& lessor = replica.engine().lessor();
  const int64_t now_ns = context.clock->MonotonicNs();
  if (lessor.primary()) {
    const auto keys = request.keys() ? Lessor::Keys::kInclude : Lessor::Keys::kLeaveOut;
    return done({}, lessor.GetTimeToLive(LeaseId(request.id()), now_ns, keys), replica);
  }
  if (now_ns >= give_up_ns) return done(engine::errors::kNoLeader, {}, replica);
  auto again = [&context, request, give_up_ns, done](Replica& later) {
    AskTimeToLive(context, later, request, give_up_ns, done);
  };
  leasepb::LeaseInternalRequest wrapped;
  *wrapped.mutable_leasetimetoliverequest() = request;
  AskLeader(context, replica, "/leases/internal", wrapped.SerializeAsString(),
            [done, again](std::optional<HttpAnswer> said, Replica& then) {
              leasepb::LeaseInternalResponse response;
              if (said && said->status == kNotFound) return done({}, {}, then);
              if (!said || !response.ParseFromString(said->body)) return then.RunLater(again);
              const auto& lease = response.leasetimetoliveresponse();
              Lessor::TimeToLive answer;
              answer.ttl_seconds = lease.ttl();
              answer.granted_ttl_seconds = lease.grantedttl();
              answer.keys.assign(lease.keys().begin(), lease.keys().end());
              done({}, std::move(answer), then);
            });
}

}  // namespace quorate::server
