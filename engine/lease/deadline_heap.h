// A binary min-heap of deadlines in which every item knows its place, so that a renewal moves one
// item in O(log n). All leases stay in it at all times (with kForever when no deadline runs), which
// also makes it the list of all leases in an order that depends on nothing but the calls made.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quorate::engine {

inline constexpr int64_t kForeverNs = std::numeric_limits<int64_t>::max();

// `Item` has a member `uint32_t heap_index` that only the heap writes. Items are not owned.
template <class Item>
class DeadlineHeap {
 public:
  struct Entry {
    int64_t deadline_ns;
    Item* item;
  };

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  const Entry& top() const { return entries_.front(); }
  const std::vector<Entry>& entries() const { return entries_; }

  void Add(Item* item, int64_t deadline_ns) {
    QR_CHECK(entries_.size() < std::numeric_limits<uint32_t>::max());
    item->heap_index = static_cast<uint32_t>(entries_.size());
    entries_.push_back({deadline_ns, item});
    Up(item->heap_index);
  }

  void Remove(const Item* item) {
    const size_t index = item->heap_index;
    QR_CHECK(index < entries_.size() && entries_[index].item == item);
    const Entry last = entries_.back();
    entries_.pop_back();
    if (last.item == item) return;
    Place(index, last);
    Down(Up(index));
  }

  void Move(const Item* item, int64_t deadline_ns) {
    const size_t index = item->heap_index;
    QR_CHECK(index < entries_.size() && entries_[index].item == item);
    entries_[index].deadline_ns = deadline_ns;
    Down(Up(index));
  }

  // Replaces everything by entries that ascend by deadline.
  void Reset(std::vector<Entry> ascending) {
    entries_ = std::move(ascending);
    for (size_t i = 0; i < entries_.size(); ++i) {
      QR_CHECK(i == 0 || entries_[i - 1].deadline_ns <= entries_[i].deadline_ns);
      entries_[i].item->heap_index = static_cast<uint32_t>(i);
    }
  }

 private:
  void Place(size_t index, const Entry& entry) {
    entries_[index] = entry;
    entry.item->heap_index = static_cast<uint32_t>(index);
  }

  size_t Up(size_t index) {
    const Entry moving = entries_[index];
    while (index > 0) {
      const size_t parent = (index - 1) / 2;
      if (entries_[parent].deadline_ns <= moving.deadline_ns) break;
      Place(index, entries_[parent]);
      index = parent;
    }
    Place(index, moving);
    return index;
  }

  void Down(size_t index) {
    const Entry moving = entries_[index];
    while (true) {
      size_t child = 2 * index + 1;
      if (child >= entries_.size()) break;
      if (child + 1 < entries_.size() &&
          entries_[child + 1].deadline_ns < entries_[child].deadline_ns) {
        ++child;
      }
      if (moving.deadline_ns <= entries_[child].deadline_ns) break;
      Place(index, entries_[child]);
      index = child;
    }
    Place(index, moving);
  }

  std::vector<Entry> entries_;
};

}  // namespace quorate::engine
