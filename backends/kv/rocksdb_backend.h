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
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace rocksdb {
class Env;
}

namespace quorate::kv {

// `env` is what the library writes through, its own if null; tests give one that fails.
absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksdbBackend(const KvOptions& options,
                                                              rocksdb::Env* env = nullptr);
std::vector<std::string> FindRocksdbDamage(const KvOptions& options);
extern const KvTraits kRocksdbTraits;

}  // namespace quorate::kv
