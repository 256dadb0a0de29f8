// Hashes over the store, equal to etcd's for the same history (wire facts, semantics §9). Jobs for
// worker threads over pinned state.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "engine/engine.h"
#include "engine/mvcc/record.h"
#include "engine/mvcc/window.h"

namespace quorate::engine {

struct HashKvInput {
  HeaderFields header;
  int64_t current_revision = 0;
  int64_t hash_revision = 0;
  int64_t compact_revision = -1;
  std::unique_ptr<HistoryReader> history;
};
std::unique_ptr<ReadJob> MakeHashKvJob(HashKvInput input);

// Maintenance.Hash: CRC-32C over all tables.
std::unique_ptr<ReadJob> MakeHashJob(const HeaderFields& header, int64_t current_revision,
                                     std::unique_ptr<kv::KvSnapshot> snapshot,
                                     std::vector<std::shared_ptr<const WindowChunk>> chunks);

}  // namespace quorate::engine
