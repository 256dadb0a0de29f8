#include "server/worker_pool.h"

#include <utility>

#include "base/thread_name.h"
#include "base/thread_turns.h"

namespace quorate::server {

WorkerPool::WorkerPool(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Submit(absl::AnyInvocable<void()> work) {
  {
    std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  ready_.notify_one();
}

bool WorkerPool::Poll() {
  absl::AnyInvocable<void()> work;
  {
    std::lock_guard lock(mutex_);
    if (work_.empty()) return false;
    work = std::move(work_.front());
    work_.pop_front();
  }
  work();
  return true;
}

size_t WorkerPool::queued() const {
  std::lock_guard lock(mutex_);
  return work_.size();
}

void WorkerPool::Run() {
  SetThreadName("worker");
  GiveWay();
  for (;;) {
    absl::AnyInvocable<void()> work;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !work_.empty(); });
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

}  // namespace quorate::server
