// Progress: asked for, and in intervals.
#include <catch2/catch.hpp>

#include "base/clock.h"
#include "engine/watch/hub.h"
#include "engine/watch/watch_test_util.h"

namespace quorate::engine {
namespace {

using watch_test::Harness;
using watch_test::Responses;
using watch_test::Show;
using watch_test::Watch;
using watch_test::WatchCreateRequest;

TEST_CASE("watch: a progress request is answered when all watches of the stream are synced") {
  Harness h;
  h.hub.OpenStream(1);
  h.hub.OpenStream(2);
  CHECK(h.RequestProgress(1).empty());  // no watches
  h.Create(1, Watch("k"));
  h.Put("x", "1");
  const Responses got = h.RequestProgress(1);
  CHECK(Show(got) == "-1:\n");
  CHECK(got[0].header().revision() == 2);
  CHECK(h.RequestProgress(2).empty());

  h.Create(1, Watch("k", "", 2));  // needs catch-up
  CHECK(h.RequestProgress(1).empty());
  auto jobs = h.hub.TakeJobs();
  CHECK(h.RequestProgress(1).empty());
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(Show(h.RequestProgress(1)) == "-1:\n");

  h.Create(1, Watch("k", "", 4));  // future: revision 4 is not there yet
  CHECK(h.RequestProgress(1).empty());
  h.Put("x", "2");
  CHECK(h.RequestProgress(1).empty());
  h.Put("x", "3");
  CHECK(Show(h.RequestProgress(1)) == "-1:\n");
}

TEST_CASE("watch: progress never says more than what was published") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("k"));
  const EventBatchPtr batch = h.store.Apply({{"k", "1"}});
  Responses got = h.RequestProgress(1);
  REQUIRE(got.size() == 1);
  CHECK(got[0].header().revision() == 1);
  h.hub.Publish(batch);
  got = h.RequestProgress(1);
  CHECK(Show(got) == "0: PUT k=1@2\n-1:\n");
  CHECK(got[1].header().revision() == 2);
  // A watch that misses events says nothing.
  h.sink.streams[1].room = 0;
  h.Put("k", "2");
  h.sink.streams[1].room = 9;
  CHECK(h.RequestProgress(1).empty());
  h.hub.StreamWritable(1);
  h.CatchUp();
  CHECK(Show(h.RequestProgress(1)) == "0: PUT k=2@3\n-1:\n");
}

TEST_CASE("watch: progress_notify comes in intervals, on the own id, not after events") {
  constexpr int64_t kInterval = kNanosPerSecond;
  Harness h({.progress_interval_ns = kInterval});
  int64_t now_ns = 1'000 * kNanosPerSecond;
  h.hub.OpenStream(1);
  WatchCreateRequest create = Watch("k");
  create.set_progress_notify(true);
  h.Create(1, create);
  h.Create(1, Watch("k"));
  create.set_start_revision(50);
  h.Create(1, create);  // a future one says nothing
  h.hub.Tick(now_ns);
  h.hub.Tick(now_ns + kInterval - 1);
  CHECK(h.sink.Take(1).empty());
  now_ns += kInterval + kInterval / 10;
  h.hub.Tick(now_ns);
  const Responses got = h.sink.Take(1);
  CHECK(Show(got) == "0:\n");
  CHECK(got[0].header().revision() == 1);

  h.Put("k", "1");
  h.sink.Take(1);
  now_ns += kInterval + kInterval / 10;
  h.hub.Tick(now_ns);
  CHECK(h.sink.Take(1).empty());  // events came in this interval
  now_ns += kInterval + kInterval / 10;
  h.hub.Tick(now_ns);
  CHECK(Show(h.sink.Take(1)) == "0:\n");

  h.sink.streams[1].room = 0;
  h.Put("k", "2");
  h.sink.streams[1].room = 9;
  for (int i = 0; i < 3; ++i) h.hub.Tick(now_ns += 2 * kInterval);
  CHECK(h.sink.Take(1).empty());  // not synced
  h.Cancel(1, 0);
  h.Cancel(1, 2);
  h.hub.StreamWritable(1);
  h.CatchUp();
  h.sink.Take(1);
  h.hub.Tick(now_ns += 2 * kInterval);
  CHECK(h.sink.Take(1).empty());
  h.Create(1, create);
  h.hub.CloseStream(1);
  h.hub.Tick(now_ns += 2 * kInterval);
  CHECK(h.sink.Take(1).empty());
}

TEST_CASE("watch: progress intervals are spread and never below 100 ms") {
  Harness h({.progress_interval_ns = 1});
  WatchCreateRequest create = Watch("k");
  create.set_progress_notify(true);
  for (WatchStreamId stream = 1; stream <= 200; ++stream) {
    h.hub.OpenStream(stream);
    h.Create(stream, create);
  }
  h.hub.Tick(0);
  h.hub.Tick(100 * kNanosPerMilli - 1);
  const auto count = [&] {
    size_t messages = 0;
    for (WatchStreamId stream = 1; stream <= 200; ++stream) messages += h.sink.Take(stream).size();
    return messages;
  };
  CHECK(count() == 0);
  h.hub.Tick(105 * kNanosPerMilli);
  const size_t half = count();
  CHECK((half > 50 && half < 150));
  h.hub.Tick(110 * kNanosPerMilli);
  CHECK(half + count() == 200);
}

}  // namespace
}  // namespace quorate::engine
