// What a member answers on its peer port beside raft: /members, /version, /members/promote/<id>,
// /members/hashkv, /leases, /leases/internal, /downgrade/enabled (wire facts, formats §8).
#pragma once

#include "server/services/context.h"
#include "transport/server.h"

namespace quorate::server {

// `context` outlives the handler.
transport::HttpHandler MakePeerHttpHandler(ServiceContext* context);

// The body of GET /version, also on the client port.
std::string VersionJson(const engine::Engine& engine);

}  // namespace quorate::server
