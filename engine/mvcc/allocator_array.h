// The selectable Allocator under standard containers and shared pointers, and a growing array of
// plain values in its blocks. Steady writing with them reaches no other allocator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/allocator.h"

namespace quorate::engine {

// As the standard library wants it (std::allocate_shared, containers).
template <class T>
class StdAllocator {
 public:
  using value_type = T;
  explicit StdAllocator(Allocator* allocator) : allocator_(allocator) {}
  template <class U>
  StdAllocator(const StdAllocator<U>& other)  // NOLINT: rebinding is implicit
      : allocator_(other.allocator()) {}
  T* allocate(size_t n) { return static_cast<T*>(allocator_->Allocate(n * sizeof(T))); }
  void deallocate(T* memory, size_t n) { allocator_->Free(memory, n * sizeof(T)); }
  Allocator* allocator() const { return allocator_; }
  template <class U>
  bool operator==(const StdAllocator<U>& other) const {
    return allocator_ == other.allocator();
  }

 private:
  Allocator* allocator_;
};

// Grows by doubling; moving on growth, so spans are good until the next Push.
template <class T>
class AllocatorArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  explicit AllocatorArray(Allocator* allocator) : allocator_(allocator) {}
  ~AllocatorArray() {
    if (items_ != nullptr) allocator_->Free(items_, capacity_ * sizeof(T));
  }
  AllocatorArray(const AllocatorArray&) = delete;
  AllocatorArray& operator=(const AllocatorArray&) = delete;

  void Push(const T& item) {
    if (size_ == capacity_) Grow();
    items_[size_++] = item;
  }
  std::span<const T> view() const { return {items_, size_}; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  void Grow() {
    const size_t capacity = capacity_ == 0 ? 64 : capacity_ * 2;
    auto* grown = static_cast<T*>(allocator_->Allocate(capacity * sizeof(T)));
    if (items_ != nullptr) {
      memcpy(static_cast<void*>(grown), items_, size_ * sizeof(T));
      allocator_->Free(items_, capacity_ * sizeof(T));
    }
    items_ = grown;
    capacity_ = capacity;
  }

  Allocator* const allocator_;
  T* items_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace quorate::engine
