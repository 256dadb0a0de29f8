// PasswordWork: lets passwords be hashed on the workers, so many at a time that others get their
// turn, and so many in line that a flood of sign-ins cannot fill the memory.
// Any thread.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>

#include "absl/functional/any_invocable.h"
#include "server/worker_pool.h"

namespace quorate::server {

class PasswordWork {
 public:
  struct Options {
    size_t running_max = 1;
    size_t waiting_max = 4096;
  };
  // `workers` ends before this does: what is under way there comes back here for the next piece.
  PasswordWork(const Options& options, WorkerPool* workers)
      : options_(options), workers_(workers) {}

  // False when the line is full: `work` is then not run.
  bool Submit(absl::AnyInvocable<void()> work);

 private:
  void RunOnWorker(absl::AnyInvocable<void()> work);
  void Next();

  const Options options_;
  WorkerPool* const workers_;
  std::mutex mutex_;
  std::deque<absl::AnyInvocable<void()>> waiting_;
  size_t running_ = 0;
};

}  // namespace quorate::server
