// TreeEditor: the changing half of the ordered tree.
//
// How full nodes are kept: a leaf at the right edge gets the full size at once and is filled to the
// last record; any other leaf is as large as what it holds, with half as much again when it grows.
// A node below a quarter of the limit joins a neighbour when both fit into three quarters.
#include <algorithm>

#include "backends/kv/ordered_tree.h"
#include "base/check.h"

namespace quorate::kv {
namespace {

constexpr size_t kGranule = 64;

size_t LimitOf(const PackedNode& node) {
  return node.level() == 0 ? kLeafBytesMax : kInnerBytesMax;
}

size_t RoundUp(size_t bytes) { return (bytes + kGranule - 1) / kGranule * kGranule; }

}  // namespace

PackedNode* TreeEditor::NewNode(uint32_t level, size_t capacity) {
  return PackedNode::Create(allocator_, birth_, level, capacity);
}

void TreeEditor::Discard(PackedNode* node) {
  if (node->birth() == birth_) {
    PackedNode::Destroy(allocator_, node);
  } else {
    retired_->push_back(node);
  }
}

void TreeEditor::DiscardTree(PackedNode* node) {
  if (node->level() == 0) {
    totals_->records -= static_cast<int64_t>(node->count());
    totals_->payload_bytes -= static_cast<int64_t>(node->PayloadBytes());
  } else {
    for (size_t slot = 0; slot < node->count(); ++slot) DiscardTree(node->Child(slot));
  }
  Discard(node);
}

PackedNode* TreeEditor::Own(PackedNode* node) {
  if (node->birth() == birth_) return node;
  PackedNode* copy = NewNode(node->level(), std::max(node->LiveBytes(), node->capacity()));
  copy->AppendFrom(*node, 0, node->count());
  Discard(node);
  return copy;
}

PackedNode* TreeEditor::Put(PackedNode* root, std::string_view key, std::string_view value) {
  if (root == nullptr) {
    root = NewNode(
        0, std::max(RoundUp(sizeof(PackedNode) + PackedNode::RecordBytes(key, value)), kGranule));
  }
  const Grown grown = PutBelow(root, key, value);
  if (grown.right == nullptr) return grown.node;
  const std::string_view left_key = grown.node->Key(0);
  const std::string_view right_key = grown.right->Key(0);
  const ChildPointer left(grown.node);
  const ChildPointer right(grown.right);
  const size_t needed = sizeof(PackedNode) + PackedNode::RecordBytes(left_key, left.view()) +
                        PackedNode::RecordBytes(right_key, right.view());
  PackedNode* top = NewNode(grown.node->level() + 1, std::max(kInnerBytesMax, RoundUp(needed)));
  top->Append(left_key, left.view());
  top->Append(right_key, right.view());
  return top;
}

TreeEditor::Grown TreeEditor::PutBelow(PackedNode* node, std::string_view key,
                                       std::string_view value) {
  if (node->level() > 0) {
    const size_t slot = node->ChildFor(key);
    PackedNode* child = node->Child(slot);
    const Grown grown = PutBelow(child, key, value);
    if (grown.node != child) {
      node = Own(node);
      node->SetChild(slot, grown.node);
    }
    if (grown.right == nullptr) return {node, nullptr};
    return InsertRecord(node, slot + 1, grown.right->Key(0), ChildPointer(grown.right).view());
  }
  const size_t slot = node->LowerBound(key);
  if (slot < node->count() && node->Key(slot) == key) {
    const std::string_view old = node->Value(slot);
    totals_->payload_bytes += static_cast<int64_t>(value.size()) - static_cast<int64_t>(old.size());
    node = Own(node);
    node->Remove(slot);
    return InsertRecord(node, slot, key, value);
  }
  totals_->records += 1;
  totals_->payload_bytes += static_cast<int64_t>(key.size() + value.size());
  return InsertRecord(node, slot, key, value);
}

TreeEditor::Grown TreeEditor::InsertRecord(PackedNode* node, size_t slot, std::string_view key,
                                           std::string_view value) {
  const size_t record_bytes = PackedNode::RecordBytes(key, value);
  if (node->birth() == birth_ && node->free_bytes() >= record_bytes) {
    node->Insert(slot, key, value);
    return {node, nullptr};
  }
  const size_t limit = LimitOf(*node);
  const size_t needed = node->LiveBytes() + record_bytes;
  const bool at_end = slot == node->count();
  if (needed > limit && node->count() > 0) return Split(node, slot, key, value);

  const size_t grown = at_end || node->level() > 0 ? limit : std::min(limit, needed * 3 / 2);
  PackedNode* copy = NewNode(node->level(), std::max(RoundUp(needed), grown));
  copy->AppendFrom(*node, 0, slot);
  copy->Append(key, value);
  copy->AppendFrom(*node, slot, node->count());
  Discard(node);
  return {copy, nullptr};
}

TreeEditor::Grown TreeEditor::Split(PackedNode* node, size_t slot, std::string_view key,
                                    std::string_view value) {
  const size_t record_bytes = PackedNode::RecordBytes(key, value);
  if (slot == node->count()) {
    // In key order: the node stays full and the new one starts with this record.
    PackedNode* right = NewNode(
        node->level(), std::max(LimitOf(*node), RoundUp(sizeof(PackedNode) + record_bytes)));
    right->Append(key, value);
    return {node, right};
  }
  // Half of the bytes on either side, the new record included, each side at least one record.
  const size_t half = (node->LiveBytes() - sizeof(PackedNode) + record_bytes) / 2;
  size_t middle = 0;      // records [0, middle) of `node` go left
  size_t left_bytes = 0;  // with the new record once it is passed
  bool new_is_left = false;
  while (middle < node->count()) {
    if (middle == slot && !new_is_left) {
      if (left_bytes > 0 && left_bytes + record_bytes > half) break;
      new_is_left = true;
      left_bytes += record_bytes;
      continue;
    }
    const size_t bytes = PackedNode::RecordBytes(node->Key(middle), node->Value(middle));
    if (left_bytes > 0 && left_bytes + bytes > half) break;
    left_bytes += bytes;
    ++middle;
  }
  QR_CHECK(middle < node->count() || !new_is_left);
  const size_t right_bytes = node->LiveBytes() - sizeof(PackedNode) + record_bytes - left_bytes;
  PackedNode* left = NewNode(node->level(), RoundUp(sizeof(PackedNode) + left_bytes));
  PackedNode* right = NewNode(node->level(), RoundUp(sizeof(PackedNode) + right_bytes));
  if (new_is_left) {
    left->AppendFrom(*node, 0, slot);
    left->Append(key, value);
    left->AppendFrom(*node, slot, middle);
    right->AppendFrom(*node, middle, node->count());
  } else {
    left->AppendFrom(*node, 0, middle);
    right->AppendFrom(*node, middle, slot);
    right->Append(key, value);
    right->AppendFrom(*node, slot, node->count());
  }
  Discard(node);
  return {left, right};
}

PackedNode* TreeEditor::Delete(PackedNode* root, std::string_view key) {
  if (root == nullptr) return nullptr;
  return DropEmptyRoots(DeleteBelow(root, key));
}

PackedNode* TreeEditor::DropEmptyRoots(PackedNode* root) {
  while (root != nullptr && root->level() > 0 && root->count() == 1) {
    PackedNode* child = root->Child(0);
    Discard(root);
    root = child;
  }
  return root;
}

PackedNode* TreeEditor::DeleteBelow(PackedNode* node, std::string_view key) {
  if (node->level() > 0) {
    const size_t slot = node->ChildFor(key);
    PackedNode* child = node->Child(slot);
    const size_t records_before = totals_->records;
    PackedNode* changed = DeleteBelow(child, key);
    if (static_cast<size_t>(totals_->records) == records_before) return node;
    node = ReplaceChild(node, slot, changed);
    return changed == nullptr || node == nullptr ? node : MergeIfSmall(node, slot);
  }
  const size_t slot = node->LowerBound(key);
  if (slot == node->count() || node->Key(slot) != key) return node;
  totals_->records -= 1;
  totals_->payload_bytes -= static_cast<int64_t>(key.size() + node->Value(slot).size());
  return RemoveSlots(node, {slot, slot + 1});
}

PackedNode* TreeEditor::RemoveSlots(PackedNode* node, SlotRange slots) {
  const size_t removed = slots.to - slots.from;
  if (removed == 0) return node;
  if (removed == node->count()) {
    Discard(node);
    return nullptr;
  }
  if (node->birth() == birth_ && removed == 1) {
    node->Remove(slots.from);
    // Gaps may make up half of a node, not more.
    if (node->dead_bytes() * 2 <= node->capacity()) return node;
    slots.to = slots.from;
  }
  size_t live_bytes = node->LiveBytes();
  for (size_t slot = slots.from; slot < slots.to; ++slot) {
    live_bytes -= PackedNode::RecordBytes(node->Key(slot), node->Value(slot));
  }
  PackedNode* copy = NewNode(node->level(), RoundUp(live_bytes));
  copy->AppendFrom(*node, 0, slots.from);
  copy->AppendFrom(*node, slots.to, node->count());
  Discard(node);
  return copy;
}

PackedNode* TreeEditor::ReplaceChild(PackedNode* node, size_t slot, PackedNode* child) {
  if (child == nullptr) return RemoveSlots(node, {slot, slot + 1});
  if (child == node->Child(slot)) return node;
  node = Own(node);
  node->SetChild(slot, child);
  return node;
}

PackedNode* TreeEditor::MergeIfSmall(PackedNode* node, size_t slot) {
  const PackedNode& child = *node->Child(slot);
  const size_t limit = LimitOf(child);
  if (child.LiveBytes() >= limit / 4) return node;
  const size_t room = limit * 3 / 4 - child.LiveBytes();
  if (slot + 1 < node->count() && node->Child(slot + 1)->LiveBytes() <= room) {
    return MergeWithNext(node, slot);
  }
  if (slot > 0 && node->Child(slot - 1)->LiveBytes() <= room) {
    return MergeWithNext(node, slot - 1);
  }
  return node;
}

PackedNode* TreeEditor::MergeWithNext(PackedNode* node, size_t left_slot) {
  PackedNode* left = node->Child(left_slot);
  PackedNode* right = node->Child(left_slot + 1);
  // An inner node's first separator may be above what its first child holds; the parent's
  // separator never is.
  const std::string_view separator = node->Key(left_slot + 1);
  const bool inner = left->level() > 0;
  PackedNode* merged =
      NewNode(left->level(), RoundUp(left->LiveBytes() + right->LiveBytes() + separator.size()));
  merged->AppendFrom(*left, 0, left->count());
  if (inner) merged->Append(separator, ChildPointer(right->Child(0)).view());
  merged->AppendFrom(*right, inner ? 1 : 0, right->count());
  node = RemoveSlots(node, {left_slot + 1, left_slot + 2});
  node = ReplaceChild(node, left_slot, merged);
  Discard(left);
  Discard(right);
  return node;
}

PackedNode* TreeEditor::DeleteRange(PackedNode* root, std::string_view begin,
                                    std::string_view end) {
  if (root == nullptr || (!end.empty() && begin >= end)) return root;
  return DropEmptyRoots(DeleteRangeBelow(root, begin, end));
}

PackedNode* TreeEditor::DeleteRangeBelow(PackedNode* node, std::string_view begin,
                                         std::string_view end) {
  if (node->level() == 0) {
    const size_t from = node->LowerBound(begin);
    const size_t to = end.empty() ? node->count() : node->LowerBound(end);
    for (size_t slot = from; slot < to; ++slot) {
      totals_->payload_bytes -=
          static_cast<int64_t>(node->Key(slot).size() + node->Value(slot).size());
    }
    totals_->records -= static_cast<int64_t>(to - from);
    return RemoveSlots(node, {from, to});
  }
  const size_t first = node->ChildFor(begin);
  const size_t last = end.empty() ? node->count() - 1 : node->ChildFor(end);
  for (size_t slot = first + 1; slot < last; ++slot) DiscardTree(node->Child(slot));
  if (last > first) {
    PackedNode* child = DeleteRangeBelow(node->Child(last), begin, end);
    node = RemoveSlots(node, {first + 1, child == nullptr ? last + 1 : last});
    if (child != nullptr) node = ReplaceChild(node, first + 1, child);
  }
  PackedNode* child = DeleteRangeBelow(node->Child(first), begin, end);
  node = ReplaceChild(node, first, child);
  return child == nullptr || node == nullptr ? node : MergeIfSmall(node, first);
}

}  // namespace quorate::kv
