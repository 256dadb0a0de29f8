#include "engine/mvcc/event_pool.h"

#include <utility>

#include "engine/mvcc/allocator_array.h"

namespace quorate::engine {

EventPool::~EventPool() {
  for (EventBatch* batch : idle_) delete batch;
}

std::shared_ptr<EventBatch> EventPool::Take() {
  EventBatch* batch = nullptr;
  {
    const std::lock_guard held(lock_);
    if (!idle_.empty()) {
      batch = idle_.back();
      idle_.pop_back();
    }
  }
  if (batch == nullptr) batch = new EventBatch();
  return {batch, [pool = shared_from_this()](EventBatch* used) { pool->Return(used); },
          StdAllocator<EventBatch>(allocator_)};
}

void EventPool::Return(EventBatch* batch) {
  batch->pins.clear();  // outside the lock: it may free a chunk
  batch->events.clear();
  batch->revision = 0;
  if (batch->events.capacity() <= kEventsKeptMax) {
    const std::lock_guard held(lock_);
    if (idle_.size() < kIdleMax) {
      idle_.push_back(batch);
      return;
    }
  }
  delete batch;
}

}  // namespace quorate::engine
