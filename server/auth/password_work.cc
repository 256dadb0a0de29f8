#include "server/auth/password_work.h"

#include <utility>

namespace quorate::server {

bool PasswordWork::Submit(absl::AnyInvocable<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (running_ == options_.running_max) {
      if (waiting_.size() == options_.waiting_max) return false;
      waiting_.push_back(std::move(work));
      return true;
    }
    ++running_;
  }
  RunOnWorker(std::move(work));
  return true;
}

void PasswordWork::RunOnWorker(absl::AnyInvocable<void()> work) {
  workers_->Submit([this, work = std::move(work)]() mutable {
    work();
    Next();
  });
}

// Behind whatever else waits for a worker by now.
void PasswordWork::Next() {
  absl::AnyInvocable<void()> work;
  {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      --running_;
      return;
    }
    work = std::move(waiting_.front());
    waiting_.pop_front();
  }
  RunOnWorker(std::move(work));
}

}  // namespace quorate::server
