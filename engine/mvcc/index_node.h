// Nodes of the KeyIndex and the search inside one. Each node keeps, beside its keys, the prefix
// they share and four more bytes of each ("heads"): a search compares heads, which lie side by
// side, and looks at one key in the end. That is what makes a descent cost a handful of cache
// misses instead of one per comparison.
//
// Heads as in Graefe and Larson 2001, "B-Tree Indexes and CPU Caches" (poor man's normalized keys).
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/mvcc/key_entry.h"

namespace quorate::engine::index {

inline constexpr uint32_t kFan = 64;

// What a parent knows of each subtree.
struct Totals {
  LiveSums live;            // at the current revision
  uint64_t superseded = 0;  // KeyEntry::superseded of all entries
  int64_t newest_main = 0;  // no record below is newer than this
};

class Node {
 public:
  bool is_leaf() const { return leaf_; }
  uint32_t count = 0;

 protected:
  explicit Node(bool leaf) : leaf_(leaf) {}

  // --- search; KeyAt(i) gives key i of [from, count)
  enum class Bound { kLower, kUpper };
  template <class KeyAt>
  uint32_t Search(std::string_view key, uint32_t from, Bound bound, KeyAt key_at) const;
  // Takes key `slot` into the heads, after it was placed and all behind it were moved by one.
  template <class KeyAt>
  void HeadInserted(uint32_t from, uint32_t slot, KeyAt key_at);
  void HeadRemoved(uint32_t slot);
  // From scratch: after splits and merges.
  template <class KeyAt>
  void RebuildHeads(uint32_t from, KeyAt key_at);

 private:
  static constexpr uint32_t kPrefixMax = 64;

  std::string_view prefix() const { return {prefix_, skip_}; }
  uint32_t HeadOf(std::string_view key) const;

  const bool leaf_;
  uint16_t skip_ = 0;  // how many bytes all keys share, at most kPrefixMax
  uint32_t heads_[kFan];
  char prefix_[kPrefixMax];
};

class Leaf : public Node {
 public:
  Leaf() : Node(/*leaf=*/true) {}

  // First slot whose key is not below `key`.
  uint32_t LowerBound(std::string_view key) const;
  void Insert(uint32_t slot, KeyEntry* entry);
  void RemoveAt(uint32_t slot);
  // Moves the entries from `slot` on into `right`, which is empty and becomes the next one.
  void MoveTail(uint32_t slot, Leaf* right);
  // Takes over the entries of the next leaf; the caller frees it.
  void TakeNext(Leaf* next_leaf);
  Totals Sum() const;

  KeyEntry* entries[kFan];
  Leaf* next = nullptr;
  Leaf* previous = nullptr;

 private:
  void Rebuild();
};

// separators[i] <= every key below children[i], and above every key of children[i - 1];
// separators[0] is unused: nothing is smaller. Their bytes are blocks of the allocator.
class Inner : public Node {
 public:
  Inner() : Node(/*leaf=*/false) {}

  uint32_t ChildFor(std::string_view key) const;
  void InsertChild(uint32_t slot, Node* child, std::string_view separator, const Totals& total);
  // Leaves the separator to the caller: that of `slot`, or of its successor for slot 0.
  std::string_view RemoveChild(uint32_t slot);
  // Moves the children from `slot` on into `right`; answers the separator between both.
  std::string_view MoveTail(uint32_t slot, Inner* right);
  void TakeNext(Inner* right, std::string_view separator);
  Totals Sum() const;

  Node* children[kFan];
  Totals totals[kFan];
  std::string_view separators[kFan];

 private:
  void Rebuild();
};

inline Totals SumOf(const Node* node) {
  return node->is_leaf() ? static_cast<const Leaf*>(node)->Sum()
                         : static_cast<const Inner*>(node)->Sum();
}

}  // namespace quorate::engine::index
