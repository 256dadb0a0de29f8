// The gate: who may call what while auth is on (wire facts, semantics §7). One table says for every
// method what it asks for; what is not in it is root's. Where permission hangs on keys, the
// caller's name and the revision of the auth store under which he came in travel with the request,
// and it is decided where the request is read or applied.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "engine/auth/auth_store.h"
#include "server/auth/tokens.h"
#include "server/services/context.h"

namespace quorate::server {

enum class Access {
  kOpen,       // nothing is asked
  kAtState,    // decided where it is read or applied
  kInHandler,  // depends on the request: the handler calls Permit
  kSomebody,   // any valid token
  kRoot
};
Access AccessTo(std::string_view path);  // "/etcdserverpb.KV/Put"

// As this member last saw it: the state decides.
bool AuthIsOn(const ServiceContext& context);

// Goes on with `then` when the caller may, and fails the call otherwise. While auth is off at once,
// else on the replica thread.
void Permit(ServiceContext& context, const CallPtr& call, Access access,
            absl::AnyInvocable<void()> then);

// What the call brought, looked at here rather than where everybody waits; null while auth is off.
std::unique_ptr<Credentials> TakeCredentials(const ServiceContext& context,
                                             const transport::ServerCall& call);

// Replica thread: goes on with who asks (nobody while auth is off), now or, for a token whose
// making is not applied here yet, later; fails the call when its token is not valid, or is not
// known here by `give_up_ns`.
using Identified = absl::AnyInvocable<void(const engine::Identity&, engine::Engine&)>;
void IdentifyCaller(ServiceContext& context, const CallPtr& call,
                    std::unique_ptr<Credentials> credentials, int64_t give_up_ns,
                    engine::Engine& engine, Identified then);
// The same from any thread.
void IdentifyCaller(ServiceContext& context, const CallPtr& call, Identified then);

// A read whose permission hangs on keys: `run` gets who asks and the state to check him against and
// to read from.
template <class Run>
void ReadAs(ServiceContext& context, const CallPtr& call, Read::Consistency consistency, Run run) {
  const int64_t give_up_ns = context.clock->MonotonicNs() + context.config->RequestTimeoutNs();
  ReadFor(context, call, consistency,
          [&context, call, give_up_ns, credentials = TakeCredentials(context, *call),
           run = std::move(run)](engine::Engine& engine) mutable {
            if (!engine.auth().enabled()) return run(engine::Identity(), engine);
            IdentifyCaller(context, call, std::move(credentials), give_up_ns, engine,
                           std::move(run));
          });
}

}  // namespace quorate::server
