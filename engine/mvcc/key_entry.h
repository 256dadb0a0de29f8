// KeyEntry: one key with its whole history that is not compacted, as the index keeps it. Entries
// and histories are blocks of the Allocator; KeyIndex makes and frees them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/mvcc/record.h"

namespace quorate::engine {

// A RecordRef in 16 bytes.
struct PackedRef {
  int64_t main = 0;
  uint32_t sub = 0;
  uint32_t bytes_and_kind = 0;  // kv_bytes * 2 + tombstone

  static PackedRef Of(const RecordRef& ref);
  RecordRef Unpack() const {
    return {{main, sub}, kv_bytes(), tombstone() ? RecordKind::kTombstone : RecordKind::kPut};
  }
  uint32_t kv_bytes() const { return bytes_and_kind >> 1; }
  bool tombstone() const { return (bytes_and_kind & 1) != 0; }
};
static_assert(sizeof(PackedRef) == 16);

// What a record of this size costs as one `kvs` field of a RangeResponse.
uint64_t FramedKvBytes(uint32_t kv_bytes);

// The records before the newest one, oldest first; behind the head in the same block.
struct OlderRefs {
  uint32_t count = 0;
  uint32_t capacity = 0;
  uint64_t reserved = 0;  // keeps the refs on 16 bytes

  PackedRef* refs() { return reinterpret_cast<PackedRef*>(this + 1); }
  std::span<const PackedRef> view() const {
    return {reinterpret_cast<const PackedRef*>(this + 1), count};
  }
  static size_t BlockBytes(uint32_t capacity) {
    return sizeof(OlderRefs) + capacity * sizeof(PackedRef);
  }
};
static_assert(sizeof(OlderRefs) == 16);

struct KeyEntry {
  PackedRef newest;
  int64_t create_revision = 0;  // of the present life; 0 when the key is deleted
  int64_t version = 0;
  int64_t lease = 0;
  OlderRefs* older_block = nullptr;  // null: the newest is the only one
  uint32_t key_bytes = 0;            // the key follows the entry in the same block
  uint32_t reserved = 0;

  bool live() const { return !newest.tombstone(); }
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  std::span<const PackedRef> older() const {
    return older_block == nullptr ? std::span<const PackedRef>() : older_block->view();
  }
  uint64_t framed_bytes() const { return live() ? FramedKvBytes(newest.kv_bytes()) : 0; }
  // Records that a later compaction may free: all but a live newest one.
  uint64_t superseded() const { return older().size() + (live() ? 0 : 1); }

  // The record that was newest at `main`; nullopt when there was none or it was a tombstone.
  std::optional<RecordRef> LiveAt(int64_t main) const;
};
static_assert(sizeof(KeyEntry) == 56);

// Sums over live keys at some revision.
struct LiveSums {
  uint64_t keys = 0;
  uint64_t framed_bytes = 0;  // as `kvs` fields of a RangeResponse

  LiveSums& operator+=(const LiveSums& other) {
    keys += other.keys;
    framed_bytes += other.framed_bytes;
    return *this;
  }
  bool operator==(const LiveSums&) const = default;
};

// etcd's interval: empty end = the single key; end = one zero byte = everything from `begin` on.
struct KeyInterval {
  std::string_view begin;
  std::string_view end;
  bool open_ended = false;
  bool single = false;

  static KeyInterval Of(std::string_view key, std::string_view range_end);
  // `key` lies behind the interval.
  bool Before(std::string_view key) const {
    return single ? key > begin : !open_ended && key >= end;
  }
  bool Contains(std::string_view key) const { return key >= begin && !Before(key); }
};

}  // namespace quorate::engine
