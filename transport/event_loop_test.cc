#include "transport/event_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace quorate::transport {
namespace {

TEST_CASE("work posted before a stop runs, in order") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) loop.Post([&seen, i] { seen.push_back(i); });
    loop.Stop();
  });
  loop.Run();
  poster.join();
  REQUIRE(seen.size() == 1000);
  for (int i = 0; i < 1000; ++i) REQUIRE(seen[i] == i);
}

TEST_CASE("a sleeping loop wakes for posts of many threads") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::thread runner([&] { loop.Run(); });
  std::atomic<int> count{0};
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        WakeScope scope;
        loop.Post([&] { ++count; });
        if (i % 16 == 0) {
          WakeScope inner;
          loop.Post([&] { ++count; });
        }
      }
    });
  }
  for (auto& poster : posters) poster.join();
  // Every post must be run by wake-ups alone: nothing else stirs this loop.
  while (count.load() < 4 * (2000 + 125)) std::this_thread::yield();
  loop.Stop();
  runner.join();
}

// Posts through a scope that serves and waits until that was run; by which thread.
std::thread::id ServedBy(EventLoop* loop) {
  std::atomic<bool> ran{false};
  std::thread::id by;
  {
    WakeScope scope;
    scope.ServeLoops();
    loop->Post([&] {
      by = std::this_thread::get_id();
      ran = true;
    });
  }
  while (!ran.load()) std::this_thread::yield();
  return by;
}

TEST_CASE("a scope that serves runs what it posts to a sleeping loop in its own thread") {
  SystemClock clock;
  EventLoop loop(&clock, EventLoop::Turns::kServedByOthers);
  std::thread runner([&] { loop.Run(); });
  while (ServedBy(&loop) != std::this_thread::get_id()) std::this_thread::yield();
  loop.Stop();
  runner.join();
}

TEST_CASE("a loop that is for its own thread alone is woken instead") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::thread runner([&] { loop.Run(); });
  const std::thread::id id = runner.get_id();
  for (int i = 0; i < 200; ++i) REQUIRE(ServedBy(&loop) == id);
  loop.Stop();
  runner.join();
}

TEST_CASE("turns of loops never overlap, whoever runs them, and nothing posted is lost") {
  SystemClock clock;
  EventLoop one(&clock, EventLoop::Turns::kServedByOthers);
  EventLoop other(&clock, EventLoop::Turns::kServedByOthers);
  std::thread first([&] { one.Run(); });
  std::thread second([&] { other.Run(); });
  int ran_by_one = 0;  // loop data: no lock of its own
  int ran_by_other = 0;
  std::atomic<int> done{0};
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        WakeScope scope;
        scope.ServeLoops();
        one.Post([&] {
          ++ran_by_one;
          one.AtEndOfTurn([&] {
            other.Post([&] {
              ++ran_by_other;
              ++done;
            });
          });
        });
      }
    });
  }
  for (auto& poster : posters) poster.join();
  while (done.load() < 4 * 2000) std::this_thread::yield();
  for (EventLoop* loop : {&one, &other}) loop->Stop();
  first.join();
  second.join();
  CHECK(ran_by_one == 4 * 2000);
  CHECK(ran_by_other == 4 * 2000);
}

TEST_CASE("timers, watches and an end that another thread's turn asked for take effect") {
  SystemClock clock;
  EventLoop loop(&clock, EventLoop::Turns::kServedByOthers);
  std::thread runner([&] { loop.Run(); });
  const auto serve = [&](std::function<void()> work) {
    WakeScope scope;
    scope.ServeLoops();
    loop.Post(std::move(work));
  };
  std::atomic<int> fired{0};
  for (int round = 1; round <= 50; ++round) {
    serve([&] { loop.RunAt(clock.MonotonicNs() + 100'000, [&] { ++fired; }); });
    while (fired.load() < round) std::this_thread::yield();
  }
  int pipe_fds[2];
  REQUIRE(pipe2(pipe_fds, O_NONBLOCK) == 0);
  REQUIRE(write(pipe_fds[1], "x", 1) == 1);  // never read: the loop finds it ready every turn
  std::atomic<int> rounds{0};
  std::atomic<bool> ready{false};
  for (int round = 1; round <= 200; ++round) {
    ready = false;
    serve([&] { loop.Watch(pipe_fds[0], EPOLLIN, [&](uint32_t) { ready = true; }); });
    while (!ready.load()) std::this_thread::yield();
    serve([&] {
      loop.Unwatch(pipe_fds[0]);
      ++rounds;
    });
    while (rounds.load() < round) std::this_thread::yield();
  }
  serve([&] { loop.Stop(); });
  runner.join();
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_CASE("inside a wake scope a post wakes the loop when the scope ends") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::mutex mutex;
  std::condition_variable changed;
  int ran = 0;
  std::thread runner([&] { loop.Run(); });
  for (int round = 1; round <= 50; ++round) {
    {
      WakeScope scope;
      for (int i = 0; i < 10; ++i) {
        loop.Post([&] {
          std::lock_guard lock(mutex);
          ++ran;
          changed.notify_one();
        });
      }
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ran == 10 * round; });
  }
  loop.Stop();
  runner.join();
}

TEST_CASE("timers run in order of time, cancelled ones never") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  const int64_t now = clock.MonotonicNs();
  loop.RunAt(now + 3 * kNanosPerMilli, [&] { seen.push_back(3); });
  loop.RunAt(now + 1 * kNanosPerMilli, [&] { seen.push_back(1); });
  const auto cancelled = loop.RunAt(now + 2 * kNanosPerMilli, [&] { seen.push_back(2); });
  loop.RunAt(now + 4 * kNanosPerMilli, [&] {
    // A timer set for the past runs too, in a later turn.
    loop.RunAt(0, [&] {
      seen.push_back(5);
      loop.Stop();
    });
  });
  loop.CancelTimer(cancelled);
  loop.CancelTimer(cancelled);
  loop.CancelTimer(12345);
  loop.Run();
  REQUIRE(seen == std::vector<int>{1, 3, 5});
}

TEST_CASE("many cancelled timers do not pile up in front of a live one") {
  SystemClock clock;
  EventLoop loop(&clock);
  const int64_t now = clock.MonotonicNs();
  for (int i = 0; i < 100'000; ++i) {
    loop.CancelTimer(loop.RunAt(now + kNanosPerSecond, [] { FAIL("cancelled timer ran"); }));
  }
  bool ran = false;
  loop.RunAt(now + kNanosPerMilli, [&] {
    ran = true;
    loop.Stop();
  });
  loop.Run();
  REQUIRE(ran);
}

TEST_CASE("a descriptor unwatched by another one's callback gets no event of that turn") {
  SystemClock clock;
  EventLoop loop(&clock);
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  // Both ends are writable at once; whoever runs first removes the other.
  int calls = 0;
  for (int i = 0; i < 2; ++i) {
    loop.Watch(pair[i], EPOLLOUT, [&, i](uint32_t events) {
      REQUIRE((events & EPOLLOUT) != 0);
      ++calls;
      loop.Unwatch(pair[1 - i]);
      loop.AtEndOfTurn([&, i] {
        loop.Unwatch(pair[i]);
        loop.Stop();
      });
    });
  }
  loop.Run();
  REQUIRE(calls == 1);
  close(pair[0]);
  close(pair[1]);
}

TEST_CASE("end-of-turn work runs after posts and may add more of itself") {
  SystemClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  loop.Post([&] {
    loop.AtEndOfTurn([&] {
      seen.push_back(2);
      loop.AtEndOfTurn([&] {
        seen.push_back(3);
        loop.Stop();
      });
    });
  });
  loop.Post([&] { seen.push_back(1); });
  loop.Run();
  REQUIRE(seen == std::vector<int>{1, 2, 3});
}

TEST_CASE("end-of-turn work set before the loop runs does not wait for an event") {
  SystemClock clock;
  EventLoop loop(&clock);
  loop.AtEndOfTurn([&] { loop.Stop(); });
  loop.Run();
}

TEST_CASE("work that a stopped loop never ran is destroyed with it") {
  auto token = std::make_shared<int>(1);
  {
    SystemClock clock;
    EventLoop loop(&clock);
    loop.Post([token] { FAIL("must not run"); });
    loop.RunAt(0, [token] { FAIL("must not run"); });
    REQUIRE(token.use_count() == 3);
  }
  REQUIRE(token.use_count() == 1);
}

}  // namespace
}  // namespace quorate::transport
