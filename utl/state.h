// What tools ask about a state, wherever it is kept: in a backend or in a snapshot file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/bbolt/snapshot_file.h"
#include "backends/kv/kv_backend.h"
#include "base/file_env.h"

namespace quorate::utl {

// As a server that starts from it would find them (wire facts, formats §2).
struct Revisions {
  int64_t current = 0;
  int64_t compacted = -1;  // -1: never
};
// Reads all of table key; kDataLoss names a key that is no revision.
absl::StatusOr<Revisions> FindRevisions(const kv::KvSnapshot& state);

// Keys that are there at the current revision. Memory: 32 bytes a key.
absl::StatusOr<uint64_t> CountKeys(const kv::KvSnapshot& state);

// A value of table meta.
absl::StatusOr<std::optional<std::string>> FindMeta(const kv::KvSnapshot& state,
                                                    std::string_view key);

// etcd's HashKV up to `revision`, 0 for the current one. Errors have etcd's texts.
struct HashAnswer {
  uint32_t hash = 0;
  int64_t hash_revision = 0;
  int64_t compact_revision = -1;
};
absl::StatusOr<HashAnswer> HashKvOf(std::unique_ptr<kv::KvSnapshot> state, int64_t revision);

// A snapshot, or a database out of a data directory of etcd's, which must not be in use:
// kUnavailable.
absl::StatusOr<std::unique_ptr<bbolt::SnapshotFile>> OpenSnapshotFile(const std::string& path);

bool IsFolder(const std::string& path);

}  // namespace quorate::utl
