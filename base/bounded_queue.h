// BoundedQueue: many producers hand items over to one consumer, a batch at a time. The consumer
// takes all that is there in one swap, so the lock is held for a pointer exchange only.
// Full: TryPush answers false and the producer decides (refuse, wait, drop); nothing is lost in
// silence. Any thread may push; one thread takes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quorate {

template <class T>
class BoundedQueue {
 public:
  // `wake` is called (outside the lock) by the push that makes an empty queue non-empty. It may be
  // empty: consumers that block use WaitTake.
  explicit BoundedQueue(size_t capacity, std::function<void()> wake = nullptr)
      : capacity_(capacity), wake_(std::move(wake)) {
    QR_CHECK(capacity > 0);
  }

  // False when full or closed; `item` is then untouched.
  bool TryPush(T&& item) {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      was_empty = items_.empty();
      items_.push_back(std::move(item));
    }
    Signal(was_empty);
    return true;
  }

  // For internal producers whose number of items in flight is bounded elsewhere (replies,
  // completions): never refused for size. False only when closed.
  bool PushUnbounded(T&& item) {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      if (closed_) return false;
      was_empty = items_.empty();
      items_.push_back(std::move(item));
    }
    Signal(was_empty);
    return true;
  }

  // Replaces *batch by all items in order; returns whether there was any. Never blocks for items.
  bool Take(std::vector<T>* batch) {
    batch->clear();
    std::lock_guard lock(mutex_);
    items_.swap(*batch);
    return !batch->empty();
  }

  // Blocks until there is an item or the queue is closed; false = closed and empty.
  bool WaitTake(std::vector<T>* batch) {
    batch->clear();
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !items_.empty() || closed_; });
    items_.swap(*batch);
    return !batch->empty();
  }

  // As WaitTake, but gives up at `deadline_ns` (SystemClock's monotonic time) with an empty batch.
  bool WaitTakeUntil(std::vector<T>* batch, int64_t deadline_ns) {
    batch->clear();
    const std::chrono::steady_clock::time_point deadline{std::chrono::nanoseconds(deadline_ns)};
    std::unique_lock lock(mutex_);
    ready_.wait_until(lock, deadline, [this] { return !items_.empty() || closed_; });
    items_.swap(*batch);
    return !batch->empty();
  }

  // Refuses further pushes; what is inside can still be taken.
  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
    if (wake_) wake_();
  }

  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }
  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  size_t capacity() const { return capacity_; }

 private:
  void Signal(bool was_empty) {
    if (!was_empty) return;
    ready_.notify_one();
    if (wake_) wake_();
  }

  const size_t capacity_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<T> items_;
  bool closed_ = false;
};

}  // namespace quorate
