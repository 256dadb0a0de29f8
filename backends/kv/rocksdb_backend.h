<<<<<<< HEAD
// The RocksDB backend: an LSM tree. Its own write-ahead log is off, since ours is the truth: writes
// go to a memtable in RAM, and a flush writes it out as a sorted file.
//
// One column family holds all tables, each key behind a byte that names its table. A batch is one
// RocksDB write, so it is atomic; memtables are flushed in the order in which they were filled, and
// a flushed one enters the manifest whole. What comes back after a crash is therefore a prefix of
// the batches, at the boundary of a memtable. Sync() flushes and waits.
//
// Files: whatever RocksDB keeps in the folder; the format is RocksDB's.
=======
// The RocksDB backend: a log-structured merge tree.
//
// One column family; a key is one byte for the table and the key. So a batch lies in one memtable,
// and since memtables reach the disk whole and in order, the files are always at a batch boundary
// without RocksDB's own log, which is off: our log is the truth. Sync() flushes the memtable and
// waits. Blocks carry RocksDB's checksums and are verified by every read; damage is kDataLoss with
// RocksDB's text, which names the file and offset.
//
// No compression: the other backends have none, and the values are etcd's encodings as they come.
//
// Files: db/ is RocksDB's folder; LOCK is ours.
>>>>>>> room/kv
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

<<<<<<< HEAD
absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksDbBackend(const KvOptions& options);
extern const KvTraits kRocksDbTraits;
=======
absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksdbBackend(const KvOptions& options);
extern const KvTraits kRocksdbTraits;
>>>>>>> room/kv

}  // namespace quorate::kv
