// Whether the cluster answers, as the proxy's /health and /proxy/health tell it.
// Loop thread only.
#pragma once

#include <functional>
#include <string>

#include "proxy/key_namespace.h"
#include "proxy/upstream.h"

namespace quorate::proxy {

// `done` gets etcd's reason, or "" when all is well.
using HealthDone = std::function<void(const std::string& reason)>;

// A linearizable read within a second; that one may not see the key is an answer as well.
void CheckRead(Upstream* upstream, const KeyNamespace& space, HealthDone done);
// The same, and then a watch that is created within three seconds.
void CheckReadAndWatch(Upstream* upstream, const KeyNamespace& space, HealthDone done);

}  // namespace quorate::proxy
