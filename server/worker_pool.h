// WorkerPool: threads for long reads (large ranges, hashes, watch catch-up), so that they never
// hold up the replica thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace quorate::server {

class WorkerPool {
 public:
  explicit WorkerPool(uint32_t threads);
  ~WorkerPool();  // finishes what was submitted

  // Any thread. How much is in flight is bounded by those who submit (catch-up jobs by the hub,
  // one slice per large range, requests by their streams).
  void Submit(absl::AnyInvocable<void()> work);

  // Runs one piece of work on the calling thread; false = there was none. For a pool of no threads.
  bool Poll();
  size_t queued() const;

 private:
  void Run();

  // One shared queue: a worker takes one item at a time, so long jobs do not queue behind others.
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<absl::AnyInvocable<void()>> work_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quorate::server
