#include "ctl/interruption.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>

#include "base/check.h"

namespace quorate::ctl {
namespace {

sigset_t EndingSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

// As if the signal had never been caught.
void DieOf(int signal) {
  std::signal(signal, SIG_DFL);
  const sigset_t set = EndingSignals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
}

}  // namespace

void Interruption::Raise(Cause cause) {
  const std::lock_guard lock(mutex_);
  if (cause_ != Cause::kNone) return;
  cause_ = cause;
  for (const auto& wake : listeners_) wake();
}

Interruption::Cause Interruption::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

Interruption::Listener::Listener(Interruption* interruption, std::function<void()> wake)
    : interruption_(interruption) {
  if (interruption_ == nullptr) return;
  const std::lock_guard lock(interruption_->mutex_);
  at_ = interruption_->listeners_.insert(interruption_->listeners_.end(), std::move(wake));
  if (interruption_->cause_ != Cause::kNone) (*at_)();
}

Interruption::Listener::~Listener() {
  if (interruption_ == nullptr) return;
  const std::lock_guard lock(interruption_->mutex_);
  interruption_->listeners_.erase(at_);
}

bool Pause(int64_t wait_ns, Interruption* interruption) {
  std::mutex mutex;
  std::condition_variable changed;
  bool raised = false;
  const Interruption::Listener listener(interruption, [&] {
    const std::lock_guard lock(mutex);
    raised = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  return !changed.wait_for(lock, std::chrono::nanoseconds(wait_ns), [&] { return raised; });
}

SignalWatch::SignalWatch(Interruption* interruption) : interruption_(interruption) {
  const sigset_t set = EndingSignals();
  QR_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  thread_ = std::thread([this] { Run(); });
}

// The signals stay blocked: what comes from here on ends nothing, for the program is at its end.
SignalWatch::~SignalWatch() {
  ending_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void SignalWatch::Run() {
  const sigset_t set = EndingSignals();
  for (int signal = 0; sigwait(&set, &signal) == 0 && !ending_;) {
    if (interruption_->raised()) DieOf(signal);
    interruption_->Raise(Interruption::Cause::kSignal);
  }
}

}  // namespace quorate::ctl
