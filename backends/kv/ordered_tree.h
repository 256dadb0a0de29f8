// The ordered tree: a copy-on-write B+tree of PackedNodes. A tree is its root; a root that readers
// can see never changes. TreeEditor makes the next root, sharing all nodes that stay the same, so
// an old root is a consistent snapshot for as long as its nodes are kept (TableSet sees to that).
//
// Cost: a batch copies each node it touches once; records appended in key order fill leaves to the
// last record (no half-full splits). Reads are lock-free walks from a root.
//
// Source: Bayer and McCreight 1972; copying paths as in Rodeh 2008, "B-trees, Shadowing, and
// Clones". Separators are plain lower bounds, so a child may start later than its separator says.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "backends/kv/packed_node.h"
#include "base/allocator.h"

namespace quorate::kv {

// A node with what the allocator keeps beside it stays within 8 KiB (inner: 4 KiB).
inline constexpr size_t kLeafBytesMax = 8192 - 16;
inline constexpr size_t kInnerBytesMax = 4096 - 16;

using TreeVisitor = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;

// `root` may be null: the empty tree. Any thread while the root is kept alive.
std::optional<std::string_view> TreeFind(const PackedNode* root, std::string_view key);
// Visits [begin, end) in order; empty `end` = to the end. False when the visitor stopped it.
bool TreeScan(const PackedNode* root, std::string_view begin, std::string_view end,
              TreeVisitor visitor);
// The highest key; nothing in an empty tree.
std::optional<std::string_view> TreeLastKey(const PackedNode* root);
// Aborts when the tree under `root` breaks an invariant: order, levels, separators. For tests.
void TreeVerify(const PackedNode* root);
// Frees every node under `root`.
void TreeDestroy(Allocator* allocator, PackedNode* root);

// What the leaves hold.
struct TreeTotals {
  int64_t records = 0;
  int64_t payload_bytes = 0;  // keys and values
};

// Makes the changes of one batch. Functions take a root and return the next one (null = empty).
// Nodes of `birth` are this batch's own and changed in place; others are copied and go to
// `retired`, to be freed when no reader can reach them.
class TreeEditor {
 public:
  TreeEditor(Allocator* allocator, uint64_t birth, std::vector<PackedNode*>* retired,
             TreeTotals* totals)
      : allocator_(allocator), birth_(birth), retired_(retired), totals_(totals) {}

  PackedNode* Put(PackedNode* root, std::string_view key, std::string_view value);
  PackedNode* Delete(PackedNode* root, std::string_view key);
  // Removes [begin, end); empty `end` = to the end.
  PackedNode* DeleteRange(PackedNode* root, std::string_view begin, std::string_view end);

 private:
  struct Grown {
    PackedNode* node = nullptr;
    PackedNode* right = nullptr;  // set when the node had to be split
  };
  struct SlotRange {
    size_t from = 0;
    size_t to = 0;
  };

  Grown PutBelow(PackedNode* node, std::string_view key, std::string_view value);
  Grown InsertRecord(PackedNode* node, size_t slot, std::string_view key, std::string_view value);
  Grown Split(PackedNode* node, size_t slot, std::string_view key, std::string_view value);
  PackedNode* DeleteBelow(PackedNode* node, std::string_view key);
  PackedNode* DeleteRangeBelow(PackedNode* node, std::string_view begin, std::string_view end);
  // Takes the result of a change below `slot` into `node`.
  PackedNode* ReplaceChild(PackedNode* node, size_t slot, PackedNode* child);
  PackedNode* MergeIfSmall(PackedNode* node, size_t slot);
  PackedNode* MergeWithNext(PackedNode* node, size_t left_slot);
  PackedNode* RemoveSlots(PackedNode* node, SlotRange slots);
  PackedNode* Own(PackedNode* node);  // the node itself or a copy that this batch may change
  PackedNode* DropEmptyRoots(PackedNode* root);
  void Discard(PackedNode* node);
  void DiscardTree(PackedNode* node);
  PackedNode* NewNode(uint32_t level, size_t capacity);

  Allocator* const allocator_;
  const uint64_t birth_;
  std::vector<PackedNode*>* const retired_;
  TreeTotals* const totals_;
};

}  // namespace quorate::kv
