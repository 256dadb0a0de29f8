#include "base/bounded_queue.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "base/clock.h"

namespace quorate {
namespace {

TEST_CASE("Items are taken all at once and in order") {
  BoundedQueue<int> queue(10);
  std::vector<int> batch = {99};
  REQUIRE_FALSE(queue.Take(&batch));
  REQUIRE(batch.empty());
  for (int i = 0; i < 5; ++i) REQUIRE(queue.TryPush(int{i}));
  REQUIRE(queue.size() == 5);
  REQUIRE(queue.Take(&batch));
  REQUIRE(batch == std::vector<int>{0, 1, 2, 3, 4});
  REQUIRE(queue.size() == 0);
}

TEST_CASE("A full queue refuses and leaves the item with its owner") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  REQUIRE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  REQUIRE_FALSE(queue.TryPush(std::move(second)));
  REQUIRE(second != nullptr);
  // Internal producers are not refused.
  REQUIRE(queue.PushUnbounded(std::move(second)));
  REQUIRE(queue.size() == 2);
}

TEST_CASE("A closed queue refuses, but gives out what it has") {
  BoundedQueue<int> queue(10);
  REQUIRE(queue.TryPush(1));
  queue.Close();
  REQUIRE_FALSE(queue.TryPush(2));
  REQUIRE_FALSE(queue.PushUnbounded(2));
  std::vector<int> batch;
  REQUIRE(queue.WaitTake(&batch));
  REQUIRE(batch == std::vector<int>{1});
  REQUIRE_FALSE(queue.WaitTake(&batch));
}

TEST_CASE("A wait with a deadline ends by an item, by closing, or at the deadline") {
  const SystemClock clock;
  BoundedQueue<int> queue(10);
  std::vector<int> batch;
  const int64_t deadline_ns = clock.MonotonicNs() + 2 * kNanosPerMilli;
  REQUIRE_FALSE(queue.WaitTakeUntil(&batch, deadline_ns));
  REQUIRE(clock.MonotonicNs() >= deadline_ns);
  const int64_t far_ns = clock.MonotonicNs() + 3600 * kNanosPerSecond;
  std::thread producer([&queue] { queue.TryPush(7); });
  REQUIRE(queue.WaitTakeUntil(&batch, far_ns));
  REQUIRE(batch == std::vector<int>{7});
  producer.join();
  REQUIRE_FALSE(queue.closed());
  std::thread closer([&queue] { queue.Close(); });
  REQUIRE_FALSE(queue.WaitTakeUntil(&batch, far_ns));
  REQUIRE(queue.closed());
  closer.join();
}

TEST_CASE("The wake function is called once for each time the queue stops being empty") {
  int wakes = 0;
  BoundedQueue<int> queue(10, [&wakes] { ++wakes; });
  queue.TryPush(1);
  queue.TryPush(2);
  queue.PushUnbounded(3);
  REQUIRE(wakes == 1);
  std::vector<int> batch;
  queue.Take(&batch);
  queue.PushUnbounded(4);
  REQUIRE(wakes == 2);
  queue.Close();
  REQUIRE(wakes == 3);
}

TEST_CASE("Many producers and a waiting consumer lose and double nothing") {
  constexpr int kProducers = 4;
  constexpr int kItems = 20'000;
  BoundedQueue<int> queue(64);
  std::vector<std::thread> producers;
  std::atomic<int> running = kProducers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < kItems; ++i) {
        while (!queue.TryPush(p * kItems + i)) std::this_thread::yield();
      }
      if (--running == 0) queue.Close();
    });
  }
  std::vector<int> next(kProducers, 0);
  std::vector<int> batch;
  bool in_order = true;
  while (queue.WaitTake(&batch)) {
    REQUIRE(batch.size() <= queue.capacity());
    for (const int item : batch) {
      in_order = in_order && item % kItems == next[static_cast<size_t>(item / kItems)]++;
    }
  }
  for (std::thread& producer : producers) producer.join();
  REQUIRE(in_order);
  REQUIRE(next == std::vector<int>(kProducers, kItems));
}

}  // namespace
}  // namespace quorate
