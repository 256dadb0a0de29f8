// PackedNode: one node of the ordered tree, its records packed back to back in one allocation.
// A leaf record is key and value; an inner record is a separator (a lower bound of the child's
// keys) and the pointer to the child. Packing costs 12 bytes a record (offset and two sizes), no
// allocation per record, and a whole node is copied or freed at once.
//
//   header | offsets, in key order, growing up -> | free | <- records, growing down |
//   record: u32 key bytes, u32 value bytes, key, value
//
// Threads: a node is changed only by the batch that made it (TreeEditor) and is constant after.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/allocator.h"
#include "base/check.h"

namespace quorate::kv {

class PackedNode {
 public:
  // What a record takes beside key and value: its offset and the two sizes.
  static constexpr size_t kRecordOverhead = 3 * sizeof(uint32_t);

  static size_t RecordBytes(std::string_view key, std::string_view value) {
    return kRecordOverhead + key.size() + value.size();
  }

  // `capacity`: bytes of the allocation, this header included.
  static PackedNode* Create(Allocator* allocator, uint64_t birth, uint32_t level, size_t capacity);
  static void Destroy(Allocator* allocator, PackedNode* node) {
    allocator->Free(node, node->capacity_);
  }

  uint64_t birth() const { return birth_; }
  uint32_t level() const { return level_; }  // 0 = leaf
  size_t count() const { return count_; }
  size_t capacity() const { return capacity_; }
  size_t dead_bytes() const { return dead_bytes_; }
  size_t free_bytes() const { return heap_begin_ - sizeof(PackedNode) - count_ * sizeof(uint32_t); }
  // Bytes of this node if it were rebuilt without gaps, header included.
  size_t LiveBytes() const { return capacity_ - free_bytes() - dead_bytes_; }
  // Keys and values alone.
  size_t PayloadBytes() const {
    return LiveBytes() - sizeof(PackedNode) - count_ * kRecordOverhead;
  }

  std::string_view Key(size_t slot) const {
    const char* record = Record(slot);
    return {record + 2 * sizeof(uint32_t), Load32(record)};
  }
  std::string_view Value(size_t slot) const {
    const char* record = Record(slot);
    return {record + 2 * sizeof(uint32_t) + Load32(record), Load32(record + sizeof(uint32_t))};
  }
  PackedNode* Child(size_t slot) const {
    PackedNode* child;
    std::memcpy(&child, Value(slot).data(), sizeof(child));
    return child;
  }
  void SetChild(size_t slot, const PackedNode* child) {
    std::memcpy(const_cast<char*>(Value(slot).data()), &child, sizeof(child));
  }

  // First slot whose key is not below `key`; count() when there is none.
  size_t LowerBound(std::string_view key) const { return LowerBoundFrom(0, key); }
  // Inner nodes: the slot of the child that holds `key` if any does, which is the last one whose
  // separator is not above it. The first child takes all that is below the second separator; its
  // own says nothing, it may be above keys that were added later.
  size_t ChildFor(std::string_view key) const;

  // `free_bytes()` must hold RecordBytes(key, value).
  void Insert(size_t slot, std::string_view key, std::string_view value);
  void Append(std::string_view key, std::string_view value) { Insert(count_, key, value); }
  void Remove(size_t slot);
  // Appends slots [from, to) of `other`.
  void AppendFrom(const PackedNode& other, size_t from, size_t to);

 private:
  PackedNode() = default;

  size_t LowerBoundFrom(size_t low, std::string_view key) const;

  static uint32_t Load32(const char* data) {
    uint32_t value;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }
  uint32_t* offsets() { return reinterpret_cast<uint32_t*>(this + 1); }
  const uint32_t* offsets() const { return reinterpret_cast<const uint32_t*>(this + 1); }
  const char* Record(size_t slot) const {
    return reinterpret_cast<const char*>(this) + offsets()[slot];
  }

  uint64_t birth_;
  uint32_t capacity_;
  uint32_t heap_begin_;
  uint32_t dead_bytes_;
  uint32_t count_;
  uint32_t level_;
  uint32_t reserved_;
};

static_assert(sizeof(PackedNode) == 32);

// The value of an inner record, as bytes.
class ChildPointer {
 public:
  explicit ChildPointer(const PackedNode* child) : child_(child) {}
  std::string_view view() const { return {reinterpret_cast<const char*>(&child_), sizeof(child_)}; }

 private:
  const PackedNode* child_;
};

}  // namespace quorate::kv
