// EventPool: event batches that come back when nobody reads them any more, with the room they had.
// Any thread may drop the last reference; the pool lives as long as one of its batches.
#pragma once

#include <memory>
#include <vector>

#include "base/allocator.h"
#include "base/spin_lock.h"
#include "engine/mvcc/record.h"

namespace quorate::engine {

class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  // `allocator` outlives all batches.
  explicit EventPool(Allocator* allocator) : allocator_(allocator) {}
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  // An empty batch.
  std::shared_ptr<EventBatch> Take();

 private:
  static constexpr size_t kIdleMax = 4096;       // batches kept for later
  static constexpr size_t kEventsKeptMax = 256;  // room for more than this is given back

  void Return(EventBatch* batch);

  Allocator* const allocator_;
  SpinLock lock_;
  std::vector<EventBatch*> idle_;
};

}  // namespace quorate::engine
