// etcdserverpb.Lease. Grants and revokes go through the log; renewals are answered by the leader
// from its own clock (semantics §6).

#include <utility>

#include "engine/auth/request_checks.h"
#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
#include "server/services/gate.h"
#include "server/services/lease_forward.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Identity;
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
  ProposeFor(context, std::move(call), RaftField::kLeaseGrant,
             Bytes::FromString(request.SerializeAsString()));
}

void Revoke(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ProposeFor(context, std::move(call), RaftField::kLeaseRevoke, std::move(bytes));
}

void AnswerTimeToLive(const CallPtr& call, int64_t id, const Error& error,
                      const Lessor::TimeToLive& lease, const Engine& engine) {
  if (!error.ok()) return Fail(*call, error);
  etcdserverpb::LeaseTimeToLiveResponse response;
  FillHeader(engine, response.mutable_header());
  response.set_id(id);
  response.set_ttl(lease.ttl_seconds);
  response.set_grantedttl(lease.granted_ttl_seconds);
  for (const std::string& key : lease.keys) response.add_keys(key);
  Answer(*call, Reply{{}, response.SerializeAsString()});
}

// Whether somebody who was let in at `auth_revision` may be told these keys.
Error MayBeTold(const engine::AuthStore& auth, const Identity& identity, uint64_t auth_revision,
                const std::vector<std::string>& keys) {
  const Error refused = engine::CheckLeaseKeysRead(auth, identity, keys);
  if (!refused.ok() || !auth.enabled() || auth.revision() == auth_revision) return refused;
  return engine::errors::kAuthOldRevision;
}

void TimeToLive(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const int64_t give_up_ns = context.clock->MonotonicNs() + context.config->RequestTimeoutNs();
  // First what was granted anywhere is applied here; then whose clock it is decides.
  ReadAs(context, call, Read::Consistency::kLinearizable,
         [context = &context, call, request, give_up_ns](const Identity& identity, Engine& engine) {
           auto answer = [call, request, identity, auth_revision = engine.auth().revision()](
                             Error error, const Lessor::TimeToLive& lease, Replica& then) {
             if (error.ok() && request.keys()) {
               error = MayBeTold(then.engine().auth(), identity, auth_revision, lease.keys);
             }
             AnswerTimeToLive(call, request.id(), error, lease, then.engine());
           };
           context->loop->Run([context, request, give_up_ns, answer](Replica& replica) {
             AskTimeToLive(*context, replica, request, give_up_ns, answer);
           });
         });
}

void Leases(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::LeaseLeasesRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadAs(
      context, call, Read::Consistency::kLinearizable,
      [call](const Identity& identity, Engine& engine) {
        const Error refused = engine::CheckLeasesRead({engine.auth(), engine.lessor()}, identity);
        if (!refused.ok()) return Fail(*call, refused);
        etcdserverpb::LeaseLeasesResponse response;
        FillHeader(engine, response.mutable_header());
        for (const LeaseId id : engine.lessor().List()) response.add_leases()->set_id(id.value());
        Answer(*call, Reply{{}, response.SerializeAsString()});
      });
}

// One keep-alive stream. A renewal of a lease that expired and is not yet revoked waits for the
// revoke and then says TTL 0, as etcd does. One that nobody's clock decides ends the stream at the
// request timeout: a TTL of 0 would tell the client that its lease is lost.
class KeepAliveCall final : public transport::CallHandler {
 public:
  KeepAliveCall(ServiceContext* context, CallPtr call)
      : context_(context), call_(std::move(call)), state_(std::make_shared<State>()) {}

  void OnMessage(Bytes bytes) override {
    etcdserverpb::LeaseKeepAliveRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    const int64_t give_up_ns =
        context_->clock->MonotonicNs() + context_->config->RequestTimeoutNs();
    context_->loop->Run(
        [context = context_, call = call_, state = state_, id = LeaseId(request.id()), give_up_ns,
         credentials = TakeCredentials(*context_, *call_)](Replica& replica) mutable {
          ++state->open;
          if (!replica.engine().auth().enabled()) {
            return Renew(*context, call, state, id, give_up_ns, replica);
          }
          IdentifyCaller(
              *context, call, std::move(credentials), give_up_ns, replica.engine(),
              [context, call, state, id, give_up_ns](const Identity& identity, Engine& engine) {
                const Error refused = MayRenew(identity, id, engine);
                if (!refused.ok()) return Fail(*call, refused);
                context->loop->Run([context, call, state, id, give_up_ns](Replica& r) {
                  Renew(*context, call, state, id, give_up_ns, r);
                });
              });
        });
  }
  void OnHalfClose() override {
    context_->loop->Run([call = call_, state = state_](Replica&) {
      state->half_closed = true;
      if (state->open == 0) call->Finish({});
    });
  }
  void OnClosed() override { context_->leader_streams->Remove(call_.get()); }

 private:
  struct State {        // replica thread only
    uint32_t open = 0;  // renewals not yet answered
    bool half_closed = false;
  };

  static Error MayRenew(const Identity& identity, LeaseId id, Engine& engine) {
    const Error nobody = engine.auth().CheckSomebody(identity);
    if (!nobody.ok()) return nobody;
    return engine::CheckLeaseWrite({engine.auth(), engine.lessor()}, identity, id);
  }

  static void Renew(ServiceContext& context, const CallPtr& call,
                    const std::shared_ptr<State>& state, LeaseId id, int64_t give_up_ns,
                    Replica& replica) {
    RenewLease(context, replica, id, give_up_ns,
               [call, state, id](const Error& error, int64_t ttl, Replica& then) {
                 if (!error.ok()) return Fail(*call, error);
                 etcdserverpb::LeaseKeepAliveResponse response;
                 FillHeader(then.engine(), response.mutable_header());
                 response.set_id(id.value());
                 response.set_ttl(ttl);
                 call->Send(Bytes::FromString(response.SerializeAsString()));
                 if (--state->open == 0 && state->half_closed) call->Finish({});
               });
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
    AdmitStream(*context, call);
    return std::make_unique<KeepAliveCall>(context, std::move(call));
  };
  table->Add(std::move(keep_alive));
}

}  // namespace quorate::server
