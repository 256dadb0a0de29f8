// The RocksDB backend: an LSM tree. Its own write-ahead log is off, since ours is the truth: writes
// go to a memtable in RAM, and a flush writes it out as a sorted file.
//
// One column family holds all tables, each key behind a byte that names its table. A batch is one
// RocksDB write, so it is atomic; memtables are flushed in the order in which they were filled, and
// a flushed one enters the manifest whole. What comes back after a crash is therefore a prefix of
// the batches, at the boundary of a memtable. Sync() flushes and waits.
//
// Files: whatever RocksDB keeps in the folder; the format is RocksDB's.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksDbBackend(const KvOptions& options);
extern const KvTraits kRocksDbTraits;

}  // namespace quorate::kv
