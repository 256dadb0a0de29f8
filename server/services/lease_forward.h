// Leases live by the leader's clock: a renewal or a question for the time left that reaches another
// member goes on to the leader, over etcd's own peer end points /leases and /leases/internal. Until
// one answers, or the request timeout ends it.
#pragma once

#include <functional>

#include "server/services/context.h"

namespace quorate::server {

// Both are called on the replica thread, and call `done` there.
// `ttl` as KeepAlive answers it: 0 = there is no such lease. kNoLeader when the time is up.
void RenewLease(ServiceContext& context, Replica& replica, LeaseId id, int64_t give_up_ns,
                std::function<void(engine::Error, int64_t ttl, Replica&)> done);
void AskTimeToLive(ServiceContext& context, Replica& replica,
                   const etcdserverpb::LeaseTimeToLiveRequest& request, int64_t give_up_ns,
                   std::function<void(engine::Error, engine::Lessor::TimeToLive, Replica&)> done);

}  // namespace quorate::server
