#include "backends/kv/ordered_tree.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace quorate::kv {
namespace {

bool ScanFrom(const PackedNode* node, std::string_view begin, std::string_view end,
              TreeVisitor visitor) {
  const bool leaf = node->level() == 0;
  size_t slot = leaf ? node->LowerBound(begin) : node->ChildFor(begin);
  for (; slot < node->count(); ++slot) {
    if (leaf) {
      const std::string_view key = node->Key(slot);
      if (!end.empty() && key >= end) return true;
      if (!visitor(key, node->Value(slot))) return false;
    } else {
      // The first child may hold keys of the range although its separator is above the end.
      if (slot > 0 && !end.empty() && node->Key(slot) >= end) return true;
      if (!ScanFrom(node->Child(slot), begin, end, visitor)) return false;
    }
  }
  return true;
}

void VerifyBelow(const PackedNode* node, const std::string* low, const std::string* high) {
  QR_CHECK(node->count() > 0);
  for (size_t slot = 0; slot < node->count(); ++slot) {
    const std::string key(node->Key(slot));
    const size_t first_ordered = node->level() == 0 ? 0 : 1;
    if (slot > first_ordered) QR_CHECK(node->Key(slot - 1) < key);
    if (high != nullptr && slot >= first_ordered) QR_CHECK(key < *high);
    if (node->level() == 0) {
      if (low != nullptr) QR_CHECK(key >= *low);
      continue;
    }
    const PackedNode* child = node->Child(slot);
    QR_CHECK(child->level() + 1 == node->level());
    const bool last = slot + 1 == node->count();
    const std::string next = last ? std::string() : std::string(node->Key(slot + 1));
    VerifyBelow(child, slot == 0 ? low : &key, last ? high : &next);
  }
}

}  // namespace

std::optional<std::string_view> TreeFind(const PackedNode* root, std::string_view key) {
  if (root == nullptr) return std::nullopt;
  const PackedNode* node = root;
  while (node->level() > 0) node = node->Child(node->ChildFor(key));
  const size_t slot = node->LowerBound(key);
  if (slot == node->count() || node->Key(slot) != key) return std::nullopt;
  return node->Value(slot);
}

bool TreeScan(const PackedNode* root, std::string_view begin, std::string_view end,
              TreeVisitor visitor) {
  return root == nullptr || ScanFrom(root, begin, end, visitor);
}

std::optional<std::string_view> TreeLastKey(const PackedNode* root) {
  if (root == nullptr) return std::nullopt;
  const PackedNode* node = root;
  while (node->level() > 0) node = node->Child(node->count() - 1);
  return node->Key(node->count() - 1);
}

void TreeVerify(const PackedNode* root) {
  if (root != nullptr) VerifyBelow(root, nullptr, nullptr);
}

void TreeDestroy(Allocator* allocator, PackedNode* root) {
  if (root == nullptr) return;
  if (root->level() > 0) {
    for (size_t slot = 0; slot < root->count(); ++slot) TreeDestroy(allocator, root->Child(slot));
  }
  PackedNode::Destroy(allocator, root);
}

}  // namespace quorate::kv
