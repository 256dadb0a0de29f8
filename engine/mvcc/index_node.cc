#include "engine/mvcc/index_node.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quorate::engine::index {
namespace {

uint32_t SharedBytes(std::string_view a, std::string_view b) {
  const size_t size = std::min(a.size(), b.size());
  size_t shared = 0;
  while (shared < size && a[shared] == b[shared]) ++shared;
  return static_cast<uint32_t>(shared);
}

template <class T>
void OpenGap(T* items, uint32_t slot, uint32_t count) {
  std::copy_backward(items + slot, items + count, items + count + 1);
}

template <class T>
void CloseGap(T* items, uint32_t slot, uint32_t count) {
  std::copy(items + slot + 1, items + count, items + slot);
}

}  // namespace

// The four bytes behind the shared prefix, as a number; shorter keys are filled up with zeros, so a
// smaller key never has a larger head.
uint32_t Node::HeadOf(std::string_view key) const {
  if (key.size() >= size_t{skip_} + sizeof(uint32_t)) {
    uint32_t bytes;
    memcpy(&bytes, key.data() + skip_, sizeof(bytes));
    return __builtin_bswap32(bytes);
  }
  uint32_t head = 0;
  for (size_t i = 0; i < sizeof(uint32_t); ++i) {
    const size_t at = skip_ + i;
    head = head << 8 | (at < key.size() ? static_cast<unsigned char>(key[at]) : 0u);
  }
  return head;
}

template <class KeyAt>
uint32_t Node::Search(std::string_view key, uint32_t from, Bound bound, KeyAt key_at) const {
  if (from >= count) return from;
  const int order = key.substr(0, skip_).compare(prefix());
  if (order != 0) return order < 0 ? from : count;
  const uint32_t head = HeadOf(key);
  uint32_t low =
      static_cast<uint32_t>(std::lower_bound(heads_ + from, heads_ + count, head) - heads_);
  uint32_t high = low;
  while (high < count && heads_[high] == head) ++high;
  while (low < high) {  // equal heads: the keys decide
    const uint32_t middle = low + (high - low) / 2;
    const int compared = key_at(middle).compare(key);
    const bool goes_right = bound == Bound::kLower ? compared < 0 : compared <= 0;
    if (goes_right) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class KeyAt>
void Node::RebuildHeads(uint32_t from, KeyAt key_at) {
  skip_ = 0;
  if (from >= count) return;
  const std::string_view first = key_at(from);
  const uint32_t shared = std::min(SharedBytes(first, key_at(count - 1)), kPrefixMax);
  memcpy(prefix_, first.data(), shared);
  skip_ = static_cast<uint16_t>(shared);
  for (uint32_t i = from; i < count; ++i) heads_[i] = HeadOf(key_at(i));
}

template <class KeyAt>
void Node::HeadInserted(uint32_t from, uint32_t slot, KeyAt key_at) {
  const std::string_view key = key_at(slot);
  if (count - from == 1 || !key.starts_with(prefix())) return RebuildHeads(from, key_at);
  OpenGap(heads_, slot, count - 1);
  heads_[slot] = HeadOf(key);
}

void Node::HeadRemoved(uint32_t slot) { CloseGap(heads_, slot, count + 1); }

// --- leaves

uint32_t Leaf::LowerBound(std::string_view key) const {
  return Search(key, 0, Bound::kLower, [this](uint32_t i) { return entries[i]->key(); });
}

void Leaf::Rebuild() {
  RebuildHeads(0, [this](uint32_t i) { return entries[i]->key(); });
}

void Leaf::Insert(uint32_t slot, KeyEntry* entry) {
  QR_CHECK(count < kFan);
  OpenGap(entries, slot, count);
  entries[slot] = entry;
  ++count;
  HeadInserted(0, slot, [this](uint32_t i) { return entries[i]->key(); });
}

void Leaf::RemoveAt(uint32_t slot) {
  CloseGap(entries, slot, count);
  --count;
  HeadRemoved(slot);
}

void Leaf::MoveTail(uint32_t slot, Leaf* right) {
  right->count = count - slot;
  std::copy(entries + slot, entries + count, right->entries);
  count = slot;
  right->next = next;
  right->previous = this;
  if (next != nullptr) next->previous = right;
  next = right;
  Rebuild();
  right->Rebuild();
}

void Leaf::TakeNext(Leaf* next_leaf) {
  QR_CHECK(next == next_leaf && count + next_leaf->count <= kFan);
  std::copy(next_leaf->entries, next_leaf->entries + next_leaf->count, entries + count);
  count += next_leaf->count;
  next = next_leaf->next;
  if (next != nullptr) next->previous = this;
  Rebuild();
}

Totals Leaf::Sum() const {
  Totals sum;
  for (uint32_t i = 0; i < count; ++i) {
    const KeyEntry& entry = *entries[i];
    sum.live.keys += entry.live() ? 1 : 0;
    sum.live.framed_bytes += entry.framed_bytes();
    sum.superseded += entry.superseded();
    sum.newest_main = std::max(sum.newest_main, entry.newest.main);
  }
  return sum;
}

// --- inner nodes

uint32_t Inner::ChildFor(std::string_view key) const {
  return Search(key, 1, Bound::kUpper, [this](uint32_t i) { return separators[i]; }) - 1;
}

void Inner::Rebuild() {
  RebuildHeads(1, [this](uint32_t i) { return separators[i]; });
}

void Inner::InsertChild(uint32_t slot, Node* child, std::string_view separator,
                        const Totals& total) {
  QR_CHECK(count < kFan && slot <= count);
  OpenGap(children, slot, count);
  OpenGap(totals, slot, count);
  OpenGap(separators, slot, count);
  children[slot] = child;
  totals[slot] = total;
  separators[slot] = separator;
  ++count;
  if (slot == 0) return;  // the first child of a new node
  HeadInserted(1, slot, [this](uint32_t i) { return separators[i]; });
}

std::string_view Inner::RemoveChild(uint32_t slot) {
  const std::string_view separator =
      count == 1 ? std::string_view() : separators[slot == 0 ? 1 : slot];
  CloseGap(children, slot, count);
  CloseGap(totals, slot, count);
  CloseGap(separators, slot, count);
  --count;
  separators[0] = {};
  if (count > 1) Rebuild();
  return separator;
}

std::string_view Inner::MoveTail(uint32_t slot, Inner* right) {
  right->count = count - slot;
  std::copy(children + slot, children + count, right->children);
  std::copy(totals + slot, totals + count, right->totals);
  std::copy(separators + slot, separators + count, right->separators);
  count = slot;
  const std::string_view between = right->separators[0];
  right->separators[0] = {};
  Rebuild();
  right->Rebuild();
  return between;
}

void Inner::TakeNext(Inner* right, std::string_view separator) {
  QR_CHECK(count + right->count <= kFan);
  right->separators[0] = separator;
  std::copy(right->children, right->children + right->count, children + count);
  std::copy(right->totals, right->totals + right->count, totals + count);
  std::copy(right->separators, right->separators + right->count, separators + count);
  count += right->count;
  Rebuild();
}

Totals Inner::Sum() const {
  Totals sum;
  for (uint32_t i = 0; i < count; ++i) {
    sum.live += totals[i].live;
    sum.superseded += totals[i].superseded;
    sum.newest_main = std::max(sum.newest_main, totals[i].newest_main);
  }
  return sum;
}

}  // namespace quorate::engine::index
