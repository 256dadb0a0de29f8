// Methods that the proxy hands on to a member as they are, messages and status both ways: locks and
// elections, users and roles, maintenance, what changes members.
#pragma once

#include <functional>
#include <span>

#include "proxy/upstream.h"
#include "transport/rpc.h"

namespace quorate::proxy {

struct PassedMethod {
  const char* path;
  transport::Method::Kind kind = transport::Method::Kind::kUnary;
};

// `after` is called on the loop thread when a call has ended, before the client hears of it; may be
// null. `upstream` outlives the calls.
void AddPassThrough(Upstream* upstream, std::span<const PassedMethod> methods,
                    std::function<void()> after, transport::ServiceTable* table);

// Those that leave cached answers as right as they were, and those that may change who sees what
// or which keys there are.
std::span<const PassedMethod> PlainMethods();
std::span<const PassedMethod> ChangingMethods();

}  // namespace quorate::proxy
