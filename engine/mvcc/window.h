// The revision window: applied changes that the backend does not have yet, in chunks of allocator
// blocks. A chunk holds whole log entries: their records and their changes to the small tables,
// ready as one atomic backend batch. It is sealed when full, flushed in order, and freed whole when
// flushed and no longer pinned by a reader or an event.
//
// Replica thread only, but for what is reached through a shared chunk that is sealed, and bytes of
// records already handed out: those never move and may be read by any thread that holds the pin.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/allocator.h"
#include "engine/engine.h"
#include "engine/mvcc/allocator_array.h"
#include "engine/mvcc/key_entry.h"
#include "engine/mvcc/record.h"

namespace quorate::engine {

// The last entry of a chunk, in table meta as etcd has it: 8 bytes, big-endian.
inline constexpr std::string_view kConsistentIndex = "consistent_index";
inline constexpr std::string_view kTerm = "term";
// nullopt for anything else than 8 bytes.
std::optional<uint64_t> ParseMetaNumber(std::string_view bytes);

struct WindowRecord {
  PackedRef packed;
  const char* bytes;

  RecordRef ref() const { return packed.Unpack(); }
  std::string_view kv() const { return {bytes, packed.kv_bytes()}; }
};

class WindowChunk final : public FlushChunk {
 public:
  // Records of `first_main` and later will be in it, if any.
  WindowChunk(Allocator* allocator, uint64_t sequence, int64_t first_main);
  ~WindowChunk() override;

  std::span<const kv::WriteOp> ops() const override { return ops_.view(); }
  uint64_t sequence() const override { return sequence_; }
  LogIndex applied_index() const override { return applied_index_; }
  uint64_t bytes() const override { return bytes_; }

  std::span<const WindowRecord> records() const { return records_.view(); }
  int64_t first_main() const { return first_main_; }
  const WindowRecord* Find(Revision revision) const;

 private:
  friend class Window;
  struct Block {
    char* memory;
    uint64_t size;
  };

  char* Reserve(uint64_t bytes, uint64_t block_bytes);

  Allocator* const allocator_;
  const uint64_t sequence_;
  const int64_t first_main_;
  AllocatorArray<Block> blocks_;
  uint64_t used_in_last_ = 0;
  uint64_t bytes_ = 0;
  AllocatorArray<WindowRecord> records_;  // in revision order
  AllocatorArray<kv::WriteOp> ops_;       // in order of applying
  LogIndex applied_index_;
};

class Window {
 public:
  struct Options {
    uint64_t chunk_bytes = 1 << 20;
  };
  Window(const Options& options, Allocator* allocator);

  // Where the backend stands at start.
  void SetApplied(LogIndex index, Term term);

  // --- filling; until EndEntry or EndStep everything lands in one chunk
  // Memory for a record's encoded KeyValue and `tail_bytes` behind it that belong to the chunk but
  // not to the record; to be filled before the next call.
  char* AddRecord(const RecordRef& ref, uint64_t tail_bytes = 0);
  void Put(kv::Table table, std::string_view key, std::string_view value);
  void Delete(kv::Table table, std::string_view key);
  // The entry is complete: its index goes with the chunk, which is sealed when it is full.
  void EndEntry(LogIndex index, Term term);
  // Changes that belong to no entry (compaction): seals a full chunk as well.
  void EndStep();

  // --- reading
  struct Found {
    std::string_view kv;
    const std::shared_ptr<WindowChunk>* chunk;  // to pin what is kept
  };
  std::optional<Found> Find(Revision revision) const;
  // What keeps the newest records alive.
  std::shared_ptr<const void> PinOpen() const { return open_; }
  // Everything not flushed, oldest first; the last one may still be filled.
  std::vector<std::shared_ptr<const WindowChunk>> Chunks() const;

  // --- flushing
  std::vector<std::shared_ptr<const FlushChunk>> TakeSealed(Engine::Seal seal);
  void Flushed(uint64_t sequence);
  uint64_t bytes() const { return bytes_; }
  uint64_t open_sequence() const { return open_->sequence(); }
  // CHECKs order and sums. For tests.
  void Verify() const;

 private:
  static constexpr uint64_t kBlockBytesMax = 256 << 10;

  char* Reserve(uint64_t bytes);
  std::string_view Store(std::string_view bytes);
  void SealOpen();
  std::shared_ptr<WindowChunk> NewChunk();

  const Options options_;
  Allocator* const allocator_;
  uint64_t next_sequence_ = 1;
  int64_t last_main_ = 0;  // of the newest record that went through
  std::shared_ptr<WindowChunk> open_;
  std::deque<std::shared_ptr<WindowChunk>> sealed_;  // oldest first, until flushed
  size_t taken_ = 0;                                 // how many of sealed_ were handed out
  uint64_t bytes_ = 0;                               // of all chunks
  LogIndex applied_;
  LogIndex sealed_index_;  // the newest that went with a sealed chunk
  Term applied_term_;
};

}  // namespace quorate::engine
