// EventLoop: epoll, timers and posted work, one thread each. Everything that belongs to a
// connection happens on its loop; other threads reach it by Post only.
//
// A turn of a loop is run by one thread at a time, nearly always the loop's own. To wake a thread
// costs more than to write a few bytes to a socket, so a loop may allow others to run what they
// posted themselves while its own thread sleeps (see WakeScope::ServeLoops). "Loop thread" below
// means whoever runs the turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "base/clock.h"

namespace quorate::transport {

class EventLoop {
 public:
  using TimerId = uint64_t;

  // kServedByOthers: nothing that runs on the loop blocks or goes by the thread's identity.
  enum class Turns : uint8_t { kOwnThreadOnly, kServedByOthers };

  explicit EventLoop(const Clock* clock, Turns turns = Turns::kOwnThreadOnly);
  ~EventLoop();

  // Runs until Stop. The calling thread becomes the loop's thread.
  void Run();
  void Stop();  // any thread
  bool InLoopThread() const;

  // Any thread. Runs `work` on the loop thread, in order of posting. Wakes the loop at most once
  // per batch of posts (see WakeScope).
  void Post(std::function<void()> work);

  // --- loop thread only
  // `on_ready(events)` with EPOLLIN/EPOLLOUT/EPOLLERR/EPOLLHUP bits. Does not own the descriptor.
  void Watch(int fd, uint32_t events, std::function<void(uint32_t events)> on_ready);
  void Change(int fd, uint32_t events);
  void Unwatch(int fd);
  TimerId RunAt(int64_t when_ns, std::function<void()> work);  // monotonic time
  void CancelTimer(TimerId id);                                // unknown ids are ignored
  // Runs once at the end of this turn of the loop: one write per batch of frames hangs here.
  void AtEndOfTurn(std::function<void()> work);
  int64_t NowNs() const;  // time at the start of this turn

 private:
  friend class WakeScope;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// While one lives on a thread, Posts of that thread wake their loops only when it ends: a replica
// that answers a hundred requests writes one eventfd per loop, not a hundred. Nests.
class WakeScope {
 public:
  WakeScope();
  ~WakeScope();
  // Wakes nobody when it ends: takes a turn of each loop that sleeps and allows it, running what
  // was posted and writing what that leads to. For little work only; inner scopes have no say.
  void ServeLoops();
  WakeScope(const WakeScope&) = delete;
  WakeScope& operator=(const WakeScope&) = delete;
};

}  // namespace quorate::transport
