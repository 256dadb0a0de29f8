// What the client service of the cluster and the peers' HTTP side of it share.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "server/services/context.h"

namespace quorate::server {

// --- replica thread
// Promotes a learner if this member leads (kNotLeader otherwise); `done` on the replica thread.
void PromoteAsLeader(ServiceContext& context, Replica& replica, MemberId member,
                     std::function<void(engine::Error, Replica&)> done);
// The first peer URL of the member that leads; nothing without one.
std::optional<std::string> LeaderUrl(Replica& replica);

// What POST /members/promote says of an error; clients of that end point compare it.
std::string PromotionText(const engine::Error& error);

}  // namespace quorate::server
