// The memory backend: ordered tables in RAM (table_set.h), with its own checkpoints on disk
// (checkpoint_store.h). The reference of the conformance suite.
//
// Write appends the batch to the checkpoint's delta file (page cache), then applies it; Sync is one
// fdatasync. Superseded bytes are got rid of by a rewrite that proceeds by a slice at each Write
// and Sync, at a pace set by the bytes written; ReclaimStep hastens it. Reads never wait for
// either.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

// The bounds of the rewrite; tests make them small.
struct MemoryTuning {
  // No rewrite before this many superseded bytes, and not before they outweigh the live ones.
  uint64_t garbage_bytes_min = 8 << 20;
  uint64_t slice_bytes_min = 256 << 10;
  uint64_t slice_bytes_max = 2 << 20;
  uint64_t slice_per_written_byte = 4;
};

absl::StatusOr<std::unique_ptr<KvBackend>> OpenMemoryBackend(const KvOptions& options,
                                                             const MemoryTuning& tuning);
std::vector<std::string> FindMemoryDamage(const KvOptions& options);
extern const KvTraits kMemoryTraits;

}  // namespace quorate::kv
