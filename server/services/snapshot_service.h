// Maintenance.Snapshot: the state of this member as a bbolt file, in a stream (wire facts,
// semantics §9): messages of 32 KiB with the bytes that are still to come, then one with the
// SHA-256 of all of them.
//
// The state is that of one applied index: what is applied goes to the backend, whose snapshot a
// worker writes, a slice at a time, into a file under the data directory. Reads and writes go on
// meanwhile, and the backend's snapshot is let go before the first byte leaves: a client that reads
// slowly holds back nothing but disk space.
#pragma once

#include "server/services/context.h"

namespace quorate::server {

void AddSnapshotMethod(ServiceContext* context, transport::ServiceTable* table);

}  // namespace quorate::server
