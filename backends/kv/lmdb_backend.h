// The LMDB backend: a B+tree in a memory-mapped file.
//
// Durability, and why there is an overlay. An LMDB that commits without syncing may be beyond
// repair after a power loss: its pages reach the disk in any order, the root perhaps first. One
// that syncs every commit would put two syncs on the disk for every small batch, beside the log's
// own. So batches collect in a TableSet in RAM, the overlay, which readers see laid over the LMDB,
// and one transaction, committed with LMDB's full sync, writes them all: at Sync(), or when the
// overlay has come to its bound. The file on disk is thus always at a batch boundary, by LMDB's own
// guarantees, and each page is written once for all batches that touched it. The price is the RAM
// of the overlay, a second walk for reads, and that batches since the last commit are lost with the
// process, which the contract allows.
//
// A range delete becomes a mark for each key that is there, so the overlay holds single keys only.
//
// Files: env-<number>/data.mdb and lock.mdb. Reclaim copies the content without free pages into a
// new folder under a temporary name, renames that to the next number and goes on with it; readers
// stay with the old one until they are done. At open the highest number counts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

absl::StatusOr<std::unique_ptr<KvBackend>> OpenLmdbBackend(const KvOptions& options);
std::vector<std::string> FindLmdbDamage(const KvOptions& options);
extern const KvTraits kLmdbTraits;

}  // namespace quorate::kv
