// Hashes over the store, equal to etcd's for the same history (wire facts, semantics §9). Jobs for
// worker threads over pinned state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "engine/engine.h"
#include "engine/mvcc/record.h"
#include "engine/mvcc/window.h"

namespace quorate::engine {

struct KvHash {
  int64_t hash_revision = 0;
  int64_t compact_revision = -1;
  uint32_t hash = 0;
};

std::string EncodeHashKvResponse(const HeaderFields& header, int64_t current_revision,
                                 const KvHash& hash);

// HashKV of the revisions in `wanted`.
std::unique_ptr<ReadJob> MakeHashKvJob(const HeaderFields& header, int64_t current_revision,
                                       const KvHash& wanted,
                                       std::unique_ptr<HistoryReader> history);

// What etcd keeps of a compaction at hash_revision, compact_revision being the one before it.
std::unique_ptr<CompactionHash> MakeCompactionHash(const KvHash& wanted,
                                                   std::unique_ptr<HistoryReader> history);
// Of a job that ran; nullopt when it failed.
std::optional<KvHash> HashOf(const CompactionHash& done);

// The hashes of the last compactions. Replica thread.
class KeptHashes {
 public:
  // False when this compaction's hash was asked for already.
  bool Begin(int64_t revision);
  void Keep(const KvHash& hash);
  std::optional<KvHash> Find(int64_t revision) const;
  const std::vector<KvHash>& all() const { return kept_; }  // by revision

 private:
  static constexpr size_t kKeptMax = 10;  // etcd's
  int64_t begun_ = -1;
  std::vector<KvHash> kept_;  // by revision
};

// Maintenance.Hash: CRC-32C over all tables.
std::unique_ptr<ReadJob> MakeHashJob(const HeaderFields& header, int64_t current_revision,
                                     std::unique_ptr<kv::KvSnapshot> snapshot,
                                     std::vector<std::shared_ptr<const WindowChunk>> chunks);

}  // namespace quorate::engine
