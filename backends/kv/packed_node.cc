#include "backends/kv/packed_node.h"

#include <limits>
#include <new>

namespace quorate::kv {

PackedNode* PackedNode::Create(Allocator* allocator, uint64_t birth, uint32_t level,
                               size_t capacity) {
  QR_CHECK(capacity >= sizeof(PackedNode));
  QR_CHECK(capacity <= std::numeric_limits<uint32_t>::max());
  auto* node = new (allocator->Allocate(capacity)) PackedNode;
  node->birth_ = birth;
  node->capacity_ = static_cast<uint32_t>(capacity);
  node->heap_begin_ = node->capacity_;
  node->dead_bytes_ = 0;
  node->count_ = 0;
  node->level_ = level;
  node->reserved_ = 0;
  return node;
}

size_t PackedNode::LowerBoundFrom(size_t low, std::string_view key) const {
  // Keys arrive in order nearly always, so the end is looked at first.
  if (low == count_ || Key(count_ - 1) < key) return count_;
  size_t high = count_ - 1;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (Key(middle) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

size_t PackedNode::ChildFor(std::string_view key) const {
  QR_CHECK(count_ > 0);
  const size_t slot = LowerBoundFrom(1, key);
  return slot < count_ && Key(slot) == key ? slot : slot - 1;
}

void PackedNode::Insert(size_t slot, std::string_view key, std::string_view value) {
  QR_CHECK(slot <= count_);
  QR_CHECK(free_bytes() >= RecordBytes(key, value));
  heap_begin_ -= static_cast<uint32_t>(2 * sizeof(uint32_t) + key.size() + value.size());
  char* record = reinterpret_cast<char*>(this) + heap_begin_;
  const uint32_t sizes[2] = {static_cast<uint32_t>(key.size()),
                             static_cast<uint32_t>(value.size())};
  std::memcpy(record, sizes, sizeof(sizes));
  std::memcpy(record + sizeof(sizes), key.data(), key.size());
  if (!value.empty()) std::memcpy(record + sizeof(sizes) + key.size(), value.data(), value.size());
  uint32_t* at = offsets() + slot;
  std::memmove(at + 1, at, (count_ - slot) * sizeof(uint32_t));
  *at = heap_begin_;
  ++count_;
}

void PackedNode::Remove(size_t slot) {
  QR_CHECK(slot < count_);
  dead_bytes_ += static_cast<uint32_t>(RecordBytes(Key(slot), Value(slot)) - sizeof(uint32_t));
  uint32_t* at = offsets() + slot;
  std::memmove(at, at + 1, (count_ - slot - 1) * sizeof(uint32_t));
  --count_;
}

void PackedNode::AppendFrom(const PackedNode& other, size_t from, size_t to) {
  for (size_t slot = from; slot < to; ++slot) Append(other.Key(slot), other.Value(slot));
}

}  // namespace quorate::kv
