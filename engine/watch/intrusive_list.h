// A doubly linked list whose links live in the items: no allocation to enter or leave, removal from
// the middle in O(1). The list owns nothing; an item must leave before it dies. Whoever uses it
// knows whether an item is in (a state or flag of the item).
#pragma once

#include <cstddef>

#include "base/check.h"

namespace quorate::engine {

template <class T>
struct ListHook {
  T* previous = nullptr;
  T* next = nullptr;
};

template <class T, ListHook<T> T::*hook>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return first_ == nullptr; }
  T* front() const { return first_; }
  static T* Next(const T* item) { return (item->*hook).next; }

  void PushBack(T* item) {
    (item->*hook) = {.previous = last_, .next = nullptr};
    (last_ != nullptr ? (last_->*hook).next : first_) = item;
    last_ = item;
  }

  void Remove(T* item) {
    ListHook<T>& links = item->*hook;
    QR_CHECK(links.previous != nullptr || first_ == item);
    QR_CHECK(links.next != nullptr || last_ == item);
    (links.previous != nullptr ? (links.previous->*hook).next : first_) = links.next;
    (links.next != nullptr ? (links.next->*hook).previous : last_) = links.previous;
    links = {};
  }

  T* PopFront() {
    T* item = first_;
    QR_CHECK(item != nullptr);
    Remove(item);
    return item;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace quorate::engine
