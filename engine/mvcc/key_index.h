// KeyIndex: every key with its history, ordered, with order statistics. A counted B+tree: each
// subtree knows
//   how many of its keys live at the current revision and how many bytes they take in an answer:
//     an exact count and the exact size of an answer cost O(log n);
//   its newest revision: what did not change since revision r counts at r as it does now, so the
//     same questions about the past cost only what changed since;
//   how many records a compaction may free: compaction visits garbage and nothing else.
//
// Nodes, entries, histories and separators are blocks of the Allocator. Replica thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "base/allocator.h"
#include "engine/mvcc/key_entry.h"
#include "engine/mvcc/record.h"

namespace quorate::engine {

namespace index {
class Node;
class Leaf;
class Inner;
struct Totals;
}  // namespace index

// As "at which revision": the current state.
inline constexpr int64_t kNewest = INT64_MAX;

class KeyIndex {
 public:
  explicit KeyIndex(Allocator* allocator);
  ~KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  // Null when the key has no record at all.
  const KeyEntry* Find(std::string_view key) const;

  // Where a key is or would be, to look first and add then with one descent. Good until the next
  // change of the index.
  class Place;

  // Adds a record as the newest of `key`. For puts, the fields describe the new pair; for
  // tombstones they are ignored.
  struct PutFields {
    int64_t create_revision = 0;
    int64_t version = 0;
    int64_t lease = 0;
  };
  void Add(std::string_view key, const RecordRef& record, const PutFields& fields);
  void Locate(std::string_view key, Place* place) const;
  void Add(Place* place, std::string_view key, const RecordRef& record, const PutFields& fields);

  // Visits entries of the interval in key order (deleted ones too) until the visitor says false.
  // The visitor may not change the index.
  void Walk(const KeyInterval& interval, absl::FunctionRef<bool(const KeyEntry&)> visitor) const;
  // The same from `key` on, wherever the interval begins: resumes a walk.
  void WalkFrom(std::string_view key, const KeyInterval& interval,
                absl::FunctionRef<bool(const KeyEntry&)> visitor) const;

  // Sums over the keys of the interval that live at `main`; over the first `keys_max` of them.
  LiveSums SumsAt(const KeyInterval& interval, int64_t main) const;
  LiveSums FirstAt(const KeyInterval& interval, int64_t main, uint64_t keys_max) const;
  LiveSums Total() const;

  // One slice of a compaction at `main`: visits keys that have something to free, in order from
  // `*resume` on, until `work_max` keys and records are done. Drops what is older than the newest
  // record <= main, and that one if it is a tombstone; tombstones of `main` itself stay. `dropped`
  // hears of each record. False when the end was reached; else *resume is where to go on.
  bool Compact(int64_t main, uint32_t work_max, std::string* resume,
               absl::FunctionRef<void(const RecordRef&)> dropped);

  uint64_t entries() const { return entries_; }
  uint64_t superseded() const;
  // CHECKs the whole structure: order, sums, separators, links. For tests.
  void Verify() const;

 private:
  struct Step {
    index::Inner* inner;
    uint32_t child;
  };
  static constexpr int kDepthMax = 16;
  struct Path {
    Step steps[kDepthMax];
    int depth = 0;
    index::Leaf* leaf = nullptr;
    uint32_t slot = 0;  // first entry >= key
  };
  struct Delta {
    int64_t keys = 0;
    int64_t bytes = 0;
    int64_t superseded = 0;
    int64_t newest_main = 0;
  };
  static Delta Minus(const KeyEntry& entry);
  static Delta Plus(Delta delta, const KeyEntry& entry);

  void Descend(std::string_view key, Path* path) const;
  static KeyEntry* EntryAt(const Path& path, std::string_view key);
  static void AdjustTotals(const Path& path, const Delta& delta);

  KeyEntry* NewEntry(std::string_view key);
  void FreeEntry(KeyEntry* entry);
  void PushOlder(KeyEntry* entry);
  void ShrinkOlder(KeyEntry* entry, uint32_t drop_front);
  void FreeOlder(KeyEntry* entry);
  std::string_view NewSeparator(std::string_view key);
  void FreeSeparator(std::string_view separator);
  void FreeTree(index::Node* node);

  void Insert(Path* path, KeyEntry* entry);
  void SplitLeaf(const Path& path);
  void AddChild(const Path& path, int level, index::Node* left, index::Node* right,
                std::string_view separator);

  // --- key_index_compact.cc
  bool SeekSuperseded(std::string_view from, Path* path) const;
  static bool FirstSuperseded(Path* path, index::Node* node);
  bool CompactEntry(KeyEntry* entry, int64_t main,
                    absl::FunctionRef<void(const RecordRef&)> dropped, uint32_t* work);
  void Remove(const Path& path);
  void RemoveChild(const Path& path, int level);
  void MergeChild(const Path& path, int level);
  void MergeWithNext(index::Inner* parent, uint32_t slot);
  void FreeNode(index::Node* node);

  // --- key_index_sums.cc
  struct Bounds {  // nothing = open
    const std::string_view* begin = nullptr;
    const std::string_view* end = nullptr;
  };
  static LiveSums SumsBelow(const index::Node* node, Bounds bounds, int64_t main);
  static bool TakeFirst(const index::Node* node, Bounds bounds, int64_t main, uint64_t keys_max,
                        LiveSums* sums);
  static uint64_t VerifyBelow(const index::Node* node, Bounds bounds, int depth,
                              const index::Leaf** previous);

  template <class T>
  T* New() {
    return new (allocator_->Allocate(sizeof(T))) T();
  }

  Allocator* const allocator_;
  index::Node* root_;
  uint64_t entries_ = 0;

 public:
  class Place {
   public:
    const KeyEntry* entry = nullptr;  // null: the key is not there

   private:
    friend class KeyIndex;
    Path path_;
  };
};

}  // namespace quorate::engine
