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
  HttpCall call{.url = *url,
                .method = "POST",
                .path = path,
                .headers = {{"Content-Type", "application/protobuf"}},
                .body = std::move(body),
                .timeout_ns = kAskTimeoutNs};
  context.peer_calls->Call(
      std::move(call), [&context, done = std::move(done)](absl::StatusOr<HttpAnswer> answer) {
        std::optional<HttpAnswer> said;
        if (answer.ok() && (answer->status == 200 || answer->status == kNotFound)) {
          said = *std::move(answer);
        }
        context.loop->Run(
            [said = std::move(said), done](Replica& then) mutable { done(std::move(said), then); });
      });
}

using RenewDone = std::function<void(Error, int64_t, Replica&)>;

// A checkpoint says that less than the whole time is left, which a new leader would go by: it has
// to go before the client hears that it has all its time again.
void ForgetCheckpoint(ServiceContext& context, Replica& replica, LeaseId id, int64_t give_up_ns,
                      RenewDone done) {
  etcdserverpb::InternalRaftRequest request;
  const uint64_t request_id = context.ids->Next();
  request.mutable_header()->set_id(request_id);
  request.mutable_lease_checkpoint()->add_checkpoints()->set_id(id.value());
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.id = RequestId(request_id);
  proposal.waiter.deadline_ns = give_up_ns;
  proposal.waiter.done = [&context, id, give_up_ns, done](const engine::Reply&) {
    context.loop->Run([&context, id, give_up_ns, done](Replica& later) {
      RenewLease(context, later, id, give_up_ns, done);
    });
  };
  replica.Propose(std::move(proposal));
}

// A leader that was deposed and does not know it would promise what it cannot keep, or say that a
// lease is gone that was granted elsewhere: a read point confirms the lead first (etcd's
// ensureLeadership).
void RenewHere(ServiceContext& context, Replica& replica, LeaseId id, int64_t give_up_ns,
               RenewDone done) {
  Read read;
  read.deadline_ns = give_up_ns;
  read.fail = [&context, done](const Error&) {
    context.loop->Run([done](Replica& r) { done(engine::errors::kNoLeader, 0, r); });
  };
  read.run = [&context, id, give_up_ns, done](Engine&) {
    context.loop->Run([&context, id, give_up_ns, done](Replica& r) {
      Lessor& lessor = r.engine().lessor();
      const int64_t now_ns = context.clock->MonotonicNs();
      if (lessor.primary() && !lessor.ExpiredNotRevoked(id, now_ns)) {
        const std::optional<engine::LeaseRecord> lease = lessor.Find(id);
        if (lease && lease->remaining_ttl_seconds > 0) {
          return ForgetCheckpoint(context, r, id, give_up_ns, done);
        }
        return done({}, lessor.Renew(id, now_ns), r);
      }
      // Another leads by now, or the revocation is under way: the answer waits for it.
      r.RunLater([&context, id, give_up_ns, done](Replica& later) {
        RenewLease(context, later, id, give_up_ns, done);
      });
    });
  };
  replica.ReadState(std::move(read));
}

}  // namespace

void RenewLease(ServiceContext& context, Replica& replica, LeaseId id, int64_t give_up_ns,
                RenewDone done) {
  if (context.clock->MonotonicNs() >= give_up_ns) {
    return done(engine::errors::kNoLeader, 0, replica);
  }
  if (replica.engine().lessor().primary()) {
    return RenewHere(context, replica, id, give_up_ns, std::move(done));
  }
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(id.value());
  AskLeader(context, replica, "/leases", request.SerializeAsString(),
            [&context, id, give_up_ns, done](std::optional<HttpAnswer> said, Replica& then) {
              etcdserverpb::LeaseKeepAliveResponse response;
              if (said && said->status == kNotFound) return done({}, 0, then);
              if (said && response.ParseFromString(said->body)) {
                return done({}, response.ttl(), then);
              }
              then.RunLater([&context, id, give_up_ns, done](Replica& later) {
                RenewLease(context, later, id, give_up_ns, done);
              });
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
