// Interruption: what ends a wait from outside, and the signals that do so.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace quorate::ctl {

// Raised once, by any thread; who waits hears of it at once. Thread-safe.
class Interruption {
 public:
  enum class Cause { kNone, kSignal, kSessionLost, kStopped };

  // The first cause counts.
  void Raise(Cause cause);
  Cause cause() const;
  bool raised() const { return cause() != Cause::kNone; }

  // Calls `wake` when the interruption is raised, or at once when it is already. After the
  // listener's end it is not called any more. `wake` must not raise.
  class Listener {
   public:
    Listener(Interruption* interruption, std::function<void()> wake);  // null: never called
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

   private:
    Interruption* const interruption_;
    std::list<std::function<void()>>::iterator at_;
  };

 private:
  mutable std::mutex mutex_;
  Cause cause_ = Cause::kNone;
  std::list<std::function<void()>> listeners_;
};

// Waits. False at once when the interruption (may be null) is raised.
bool Pause(int64_t wait_ns, Interruption* interruption);

// While it lives, SIGINT and SIGTERM raise the interruption instead of ending the program. A second
// one ends the program as usual: an unlock that nobody answers must not hold the terminal. Make it
// before any other thread, so that all inherit the blocked signals.
class SignalWatch {
 public:
  explicit SignalWatch(Interruption* interruption);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  void Run();

  Interruption* const interruption_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace quorate::ctl
