#include "server/services/gate.h"

#include <algorithm>

#include "engine/errors.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Identity;

struct AccessRow {
  std::string_view path;  // one that ends with '/' stands for a whole service
  Access access;
};
constexpr AccessRow kAccess[] = {
    {"/etcdserverpb.KV/Range", Access::kAtState},
    {"/etcdserverpb.KV/RangeStream", Access::kAtState},
    {"/etcdserverpb.KV/Put", Access::kAtState},
    {"/etcdserverpb.KV/DeleteRange", Access::kAtState},
    {"/etcdserverpb.KV/Txn", Access::kAtState},
    {"/etcdserverpb.KV/Compact", Access::kRoot},
    {"/etcdserverpb.Watch/Watch", Access::kAtState},
    {"/etcdserverpb.Lease/LeaseGrant", Access::kSomebody},
    {"/etcdserverpb.Lease/LeaseRevoke", Access::kSomebody},  // and its keys, when applied
    {"/etcdserverpb.Lease/LeaseTimeToLive", Access::kSomebody},
    {"/etcdserverpb.Lease/LeaseKeepAlive", Access::kAtState},
    {"/etcdserverpb.Lease/LeaseLeases", Access::kAtState},
    {"/etcdserverpb.Cluster/MemberAdd", Access::kInHandler},  // bad URLs are told first
    {"/etcdserverpb.Cluster/MemberList", Access::kSomebody},
    {"/etcdserverpb.Maintenance/Alarm", Access::kInHandler},
    {"/etcdserverpb.Maintenance/Status", Access::kSomebody},
    {"/etcdserverpb.Auth/", Access::kAtState},
    {"/v3lockpb.Lock/", Access::kAtState},
    {"/v3electionpb.Election/", Access::kAtState},
    {"/grpc.health.v1.Health/", Access::kOpen},
    {"/grpc.reflection.v1.ServerReflection/", Access::kOpen},
    {"/grpc.reflection.v1alpha.ServerReflection/", Access::kOpen},
};

}  // namespace

Access AccessTo(std::string_view path) {
  for (const AccessRow& row : kAccess) {
    if (row.path.ends_with('/') ? path.starts_with(row.path) : path == row.path) return row.access;
  }
  return Access::kRoot;
}

bool AuthIsOn(const ServiceContext& context) {
  return context.loop->counters().auth_enabled.load(std::memory_order_relaxed);
}

std::unique_ptr<Credentials> TakeCredentials(const ServiceContext& context,
                                             const transport::ServerCall& call) {
  if (!AuthIsOn(context)) return nullptr;
  return std::make_unique<Credentials>(context.tokens->Read(call));
}

void IdentifyCaller(ServiceContext& context, const CallPtr& call,
                    std::unique_ptr<Credentials> credentials, int64_t give_up_ns, Engine& engine,
                    Identified then) {
  if (!engine.auth().enabled()) return then(Identity(), engine);
  if (credentials == nullptr) {
    credentials = std::make_unique<Credentials>(context.tokens->Read(*call));
  }
  const Tokens::Outcome outcome = context.tokens->Identify(*credentials, engine);
  if (const auto* identity = std::get_if<Identity>(&outcome)) return then(*identity, engine);
  if (const auto* error = std::get_if<Error>(&outcome)) return Fail(*call, *error);
  if (call->cancelled()) return;
  if (context.clock->MonotonicNs() >= give_up_ns) {
    return Fail(*call, engine::errors::kInvalidAuthToken);
  }
  context.loop->Run([&context, call, credentials = std::move(credentials), give_up_ns,
                     then = std::move(then)](Replica& replica) mutable {
    replica.RunLater([&context, call, credentials = std::move(credentials), give_up_ns,
                      then = std::move(then)](Replica& later) mutable {
      IdentifyCaller(context, call, std::move(credentials), give_up_ns, later.engine(),
                     std::move(then));
    });
  });
}

void IdentifyCaller(ServiceContext& context, const CallPtr& call, Identified then) {
  ReadAs(context, call, Read::Consistency::kLocal, std::move(then));
}

void Permit(ServiceContext& context, const CallPtr& call, Access access,
            absl::AnyInvocable<void()> then) {
  const bool asked = access == Access::kSomebody || access == Access::kRoot;
  if (!asked || !AuthIsOn(context)) return then();
  IdentifyCaller(context, call,
                 [call, access, then = std::move(then)](const Identity& identity,
                                                        const Engine& engine) mutable {
                   const Error refused = access == Access::kRoot
                                             ? engine.auth().CheckAdmin(identity)
                                             : engine.auth().CheckSomebody(identity);
                   if (!refused.ok()) return Fail(*call, refused);
                   then();
                 });
}

}  // namespace quorate::server
