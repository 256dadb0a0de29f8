// etcdserverpb.Lease. Grants and revokes go through the log; renewals are answered by the leader
// from its own clock (semantics §6).

#include <utility>

#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Lessor;
using engine::Reply;

void Grant(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseGrantRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (request.id() == 0) {
    request.set_id(static_cast<int64_t>(context.ids->Next() & INT64_MAX));
  }
  etcdserverpb::InternalRaftRequest wrapped;
  wrapped.mutable_lease_grant()->CopyFrom(request);
  const uint64_t cost = Engine::QuotaCost(wrapped);
  if (!WithinQuota(context, *call, cost)) return;
  ProposeFor(context, std::move(call),
             WrapRequest(RaftField::kLeaseGrant, request.SerializeAsString(), context.ids->Next()));
}

void Revoke(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ProposeFor(context, std::move(call),
             WrapRequest(RaftField::kLeaseRevoke, bytes.view(), context.ids->Next()));
}

void TimeToLive(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadFor(context, call, Read::Consistency::kLinearizable,
          [context = &context, call, request](Engine& engine) {
            const LeaseId id(request.id());
            const Lessor::TimeToLive lease = engine.lessor().GetTimeToLive(
                id, context->clock->MonotonicNs(),
                request.keys() ? Lessor::Keys::kInclude : Lessor::Keys::kLeaveOut);
            etcdserverpb::LeaseTimeToLiveResponse response;
            FillHeader(engine, response.mutable_header());
            response.set_id(request.id());
            response.set_ttl(lease.ttl_seconds);
            response.set_grantedttl(lease.granted_ttl_seconds);
            for (const std::string& key : lease.keys) response.add_keys(key);
            Answer(*call, Reply{{}, response.SerializeAsString()});
          });
}

void Leases(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseLeasesRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadFor(context, call, Read::Consistency::kLinearizable, [call](Engine& engine) {
    etcdserverpb::LeaseLeasesResponse response;
    FillHeader(engine, response.mutable_header());
    for (const LeaseId id : engine.lessor().List()) response.add_leases()->set_id(id.value());
    Answer(*call, Reply{{}, response.SerializeAsString()});
  });
}

// One keep-alive stream. A renewal of a lease that expired and is not yet revoked waits for the
// revoke and then says TTL 0, as etcd does. One that finds no clock here that may decide waits for
// it until the request timeout: a TTL of 0 would tell the client that its lease is lost.
class KeepAliveCall final : public transport::CallHandler {
 public:
  KeepAliveCall(ServiceContext* context, CallPtr call)
      : context_(context), call_(std::move(call)), state_(std::make_shared<State>()) {}

  void OnMessage(Bytes bytes) override {
    etcdserverpb::LeaseKeepAliveRequest request;
    if (!ParseOrFail(*call_, bytes, &request)) return;
    const Renewal renewal{LeaseId(request.id()),
                          context_->clock->MonotonicNs() + context_->config->RequestTimeoutNs()};
    context_->loop->Run([state = state_](Replica&) { ++state->open; });
    // A leader that was deposed and does not know it would promise what it cannot keep, or say that
    // a lease is gone that was granted elsewhere: a read point confirms the lead first (etcd's
    // ensureLeadership).
    ReadFor(*context_, call_, Read::Consistency::kLinearizable,
            [context = context_, call = call_, state = state_, renewal](Engine&) {
              context->loop->Run([context, call, state, renewal](Replica& replica) {
                Renew(context, call, state, renewal, replica);
              });
            });
  }
  void OnHalfClose() override {
    context_->loop->Run([call = call_, state = state_](Replica&) {
      state->half_closed = true;
      if (state->open == 0) call->Finish({});
    });
  }
  void OnClosed() override {}

 private:
  struct State {        // replica thread only
    uint32_t open = 0;  // renewals not yet answered
    bool half_closed = false;
  };

  struct Renewal {
    LeaseId id;
    int64_t give_up_ns;
  };

  static void Renew(ServiceContext* context, const CallPtr& call,
                    const std::shared_ptr<State>& state, Renewal renewal, Replica& replica) {
    if (call->cancelled()) return;
    Engine& engine = replica.engine();
    const LeaseId id = renewal.id;
    const int64_t now_ns = context->clock->MonotonicNs();
    const bool decides = engine.lessor().primary();
    if (!decides && now_ns >= renewal.give_up_ns) return Fail(*call, engine::errors::kNoLeader);
    if (!decides || engine.lessor().ExpiredNotRevoked(id, now_ns)) {
      replica.RunLater([context, call, state, renewal](Replica& later) {
        Renew(context, call, state, renewal, later);
      });
      return;
    }
    etcdserverpb::LeaseKeepAliveResponse response;
    FillHeader(engine, response.mutable_header());
    response.set_id(id.value());
    response.set_ttl(engine.lessor().Renew(id, now_ns));
    call->Send(Bytes::FromString(response.SerializeAsString()));
    if (--state->open == 0 && state->half_closed) call->Finish({});
  }

  ServiceContext* const context_;
  const CallPtr call_;
  const std::shared_ptr<State> state_;
};

}  // namespace

void AddLeaseService(ServiceContext* context, transport::ServiceTable* table) {
  AddUnaryMethods(context, "etcdserverpb.Lease",
                  {{"LeaseGrant", Grant},
                   {"LeaseRevoke", Revoke},
                   {"LeaseTimeToLive", TimeToLive},
                   {"LeaseLeases", Leases}},
                  table);
  transport::Method keep_alive;
  keep_alive.path = "/etcdserverpb.Lease/LeaseKeepAlive";
  keep_alive.kind = transport::Method::Kind::kBidi;
  keep_alive.bidi = [context](CallPtr call) {
    return std::make_unique<KeepAliveCall>(context, std::move(call));
  };
  table->Add(std::move(keep_alive));
}

}  // namespace quorate::server
