// KeyIndex: every key with its history, ordered, with order statistics. A counted B+tree: each
// subtree knows how many of its keys live at the current revision and how many bytes they take as
// `kvs` fields of a RangeResponse, so an exact count and the exact size of an answer cost O(log n).
//
// Nodes, entries and key bytes come from the Allocator. Replica thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "base/allocator.h"
#include "engine/mvcc/record.h"

namespace quorate::engine {

// A RecordRef in 16 bytes.
struct PackedRef {
  int64_t main = 0;
  uint32_t sub = 0;
  uint32_t bytes_and_kind = 0;  // kv_bytes * 2 + tombstone

  static PackedRef Of(const RecordRef& ref);
  RecordRef Unpack() const;
};

// One key. Its newest record and what the next put needs to know; older records behind `older`.
struct KeyEntry {
  PackedRef newest;
  int64_t create_revision = 0;  // of the present life; 0 when the key is deleted
  int64_t version = 0;
  int64_t lease = 0;
  PackedRef* older = nullptr;  // oldest first
  uint32_t older_count = 0;
  uint32_t older_capacity = 0;
  uint32_t key_bytes = 0;

  bool live() const { return (newest.bytes_and_kind & 1) == 0; }
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  uint64_t framed_bytes() const;
};

struct LiveSums {
  uint64_t keys = 0;
  uint64_t framed_bytes = 0;
};

// etcd's interval: empty end = the single key; end = one zero byte = everything from `begin` on.
struct KeyInterval {
  std::string_view begin;
  std::string_view end;

  static KeyInterval Of(std::string_view key, std::string_view range_end);
  bool open_ended = false;
  bool single = false;
  bool Before(std::string_view key) const { return !open_ended && key >= end; }  // key is behind it
};

class KeyIndex {
 public:
  explicit KeyIndex(Allocator* allocator);
  ~KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  // Null when the key has no record at all.
  const KeyEntry* Find(std::string_view key) const;

  // Adds a record as the newest of `key`. For puts, create_revision, version and lease describe the
  // new pair; for tombstones they are ignored.
  struct PutFields {
    int64_t create_revision = 0;
    int64_t version = 0;
    int64_t lease = 0;
  };
  void Add(std::string_view key, const RecordRef& record, const PutFields& fields);

  // The record that was newest at `main`; nullopt when there was none or it was a tombstone.
  static std::optional<RecordRef> LiveAt(const KeyEntry& entry, int64_t main);

  // Visits entries of the interval in key order (deleted ones too) until the visitor says false.
  void Walk(const KeyInterval& interval, absl::FunctionRef<bool(const KeyEntry&)> visitor) const;
  // The same from `key` on, wherever the interval begins: resumes a walk.
  void WalkFrom(std::string_view key, const KeyInterval& interval,
                absl::FunctionRef<bool(const KeyEntry&)> visitor) const;

  // Order statistics of live keys at the current revision.
  LiveSums Total() const;
  LiveSums Below(std::string_view key) const;  // live keys < key
  LiveSums Within(const KeyInterval& interval) const;
  LiveSums First(uint64_t keys) const;  // the first so many live keys

  // Drops records of up to `keys_max` keys from `*resume` on that a compaction at `main` frees:
  // keeps what is newer, the newest <= main unless it is a tombstone below main. `dropped` hears of
  // each. False when the end was reached; else *resume is where to go on.
  bool Compact(int64_t main, uint32_t keys_max, std::string* resume,
               absl::FunctionRef<void(const RecordRef&)> dropped);

  uint64_t entries() const { return entries_; }

 private:
  struct Node;
  struct Leaf;
  struct Inner;
  struct Step {
    Inner* inner;
    uint32_t child;
  };
  static constexpr int kDepthMax = 16;
  struct Path {
    Step steps[kDepthMax];
    int depth = 0;
    Leaf* leaf = nullptr;
    uint32_t slot = 0;  // first entry >= key
  };

  void Descend(std::string_view key, Path* path) const;
  KeyEntry* At(const Path& path, std::string_view key) const;
  static void AdjustSums(const Path& path, int64_t keys, int64_t bytes);
  KeyEntry* NewEntry(std::string_view key);
  void FreeEntry(KeyEntry* entry);
  void Insert(Path* path, KeyEntry* entry);
  void SplitLeaf(Path* path);
  void InsertChild(Path* path, int level, Node* left, Node* right, std::string_view separator);
  void Remove(const Path& path);
  void RemoveEmpty(const Path& path);
  void PushOlder(KeyEntry* entry);
  size_t CompactEntry(KeyEntry* entry, int64_t main,
                      absl::FunctionRef<void(const RecordRef&)> dropped);
  void FreeNode(Node* node);
  std::string_view NewSeparator(std::string_view key);
  void FreeSeparator(std::string_view separator);
  static LiveSums SumsOf(const Node* node);
  template <class T>
  T* New() {
    return new (allocator_->Allocate(sizeof(T))) T();
  }

  Allocator* const allocator_;
  Node* root_;
  Leaf* first_leaf_;
  uint64_t entries_ = 0;
};

}  // namespace quorate::engine
