// --force-new-cluster: a member of a cluster that has lost its quorum becomes the only member of
// its own, with the data that it has (wire facts, lifecycle §7).
#pragma once

#include "absl/status/status.h"
#include "backends/log/log_store.h"
#include "engine/engine.h"
#include "server/config.h"

namespace quorate::server {

// Before raft is built. Everything in the log counts as committed, and behind it stand
// configuration entries that remove all others (and add this member, should it not be one). Durable
// when it returns. With nothing to remove it changes nothing, so the option may stay for later
// starts. Otherwise than etcd, which drops what its log does not know to be committed: that mark
// may lag behind what a member of the lost quorum has acknowledged.
absl::Status ForceNewCluster(const ServerConfig& config, const engine::Engine& engine,
                             log::LogStore* log);

}  // namespace quorate::server
