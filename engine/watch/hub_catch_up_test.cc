// Watches that lag: without room, from the past, while jobs run, and over compactions.
#include <catch2/catch.hpp>
#include <thread>

#include "engine/watch/hub.h"
#include "engine/watch/watch_test_util.h"

namespace quorate::engine {
namespace {

using watch_test::Harness;
using watch_test::Responses;
using watch_test::Show;
using watch_test::Watch;
using watch_test::WatchCreateRequest;
using watch_test::WatchResponse;

TEST_CASE("watch: a job that was not run is asked for again") {
  Harness h;
  h.hub.OpenStream(1);
  h.Put("k", "1");
  h.Create(1, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  REQUIRE(jobs.size() == 1);
  h.hub.Finish(std::move(jobs[0]));
  CHECK(h.sink.Take(1).empty());
  CHECK(h.CatchUp() == 1);
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=1@2\n");
}

TEST_CASE("watch: a watch cancelled or closed while its job runs gets nothing more") {
  Harness h;
  h.hub.OpenStream(1);
  h.hub.OpenStream(2);
  h.Put("k", "1");
  h.Create(1, Watch("k", "", 2));
  h.Create(1, Watch("k", "", 2));
  h.Create(2, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  REQUIRE(jobs.size() == 1);
  h.Put("k", "2");
  CHECK(Show(h.Cancel(1, 0)) == "0: canceled\n");
  h.hub.CloseStream(2);
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(Show(h.sink.Take(1)) == "1: PUT k=1@2 PUT k=2@3\n");
  CHECK(h.sink.Take(2).empty());
  CHECK(h.hub.counters().streams == 1);
  CHECK(h.hub.counters().watchers == 1);
  CHECK(h.hub.counters().pending_events == 0);
  CHECK(h.hub.counters().slow_watchers == 0);
}

TEST_CASE("watch: without room a watch remembers its revision, with room it catches up") {
  Harness h;
  h.hub.OpenStream(1);
  h.hub.OpenStream(2);
  h.Create(1, Watch("k"));
  h.Create(2, Watch("k"));
  h.sink.streams[1].room = 1;
  for (const char* value : {"1", "2", "3"}) h.Put("k", value);
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=1@2\n");
  CHECK(Show(h.sink.Take(2)) == "0: PUT k=1@2\n0: PUT k=2@3\n0: PUT k=3@4\n");
  CHECK(h.hub.counters().slow_watchers == 1);
  CHECK(h.CatchUp() == 0);  // no room: nothing is read either
  h.sink.streams[1].room = 5;
  h.hub.StreamWritable(1);
  CHECK(h.CatchUp() == 1);
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=2@3 PUT k=3@4\n");
  CHECK(h.hub.counters().slow_watchers == 0);
  h.Put("k", "4");
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=4@5\n");
}

TEST_CASE("watch: events published while a job runs follow in the same message") {
  Harness h;
  h.hub.OpenStream(1);
  h.Put("k", "1");
  h.Create(1, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  h.Put("k", "2");
  h.Put("other", "x");
  h.Put("k", "3");
  CHECK(h.hub.counters().pending_events == 2);
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=1@2 PUT k=2@3 PUT k=3@5\n");
  CHECK(h.hub.counters().slow_watchers == 0);
}

TEST_CASE("watch: too many events while a job runs are read by the next job") {
  Harness h({.catch_up_bytes_max = 2000});
  h.hub.OpenStream(1);
  h.Put("k", "1");
  h.Create(1, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  for (int i = 0; i < 10; ++i) h.Put("k", std::string(500, 'x'));
  CHECK(h.hub.counters().pending_events == 0);  // given up: memory is bounded
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(h.sink.Take(1).size() == 1);
  CHECK(h.hub.counters().slow_watchers == 1);
  CHECK(h.CatchUp() > 1);
  int events = 0;
  for (const WatchResponse& response : h.sink.Take(1)) events += response.events_size();
  CHECK(events == 10);
}

TEST_CASE("watch: catch-up comes in stretches of whole revisions") {
  Harness h({.catch_up_revisions_max = 4, .catch_up_bytes_max = 1000});
  h.hub.OpenStream(1);
  for (int i = 0; i < 6; ++i) h.Txn({{"a", "1"}, {"b", "2"}, {"c", "3"}});
  h.Txn({{"a", std::string(900, 'a')}, {"b", std::string(900, 'b')}});
  h.Put("a", "end");
  h.Create(1, Watch("a", "z", 2));
  CHECK(h.CatchUp() == 3);
  const Responses got = h.sink.Take(1);
  REQUIRE(got.size() == 3);
  CHECK(got[0].events_size() == 12);
  CHECK(got[1].events_size() == 8);  // the fat revision ends the stretch and stays whole
  CHECK(got[2].events_size() == 1);
}

TEST_CASE("watch: many watches that need the same stretch share one job") {
  Harness h;
  for (int i = 0; i < 50; ++i) h.Put("k" + std::to_string(i), "v");
  for (WatchStreamId stream = 1; stream <= 300; ++stream) {
    h.hub.OpenStream(stream);
    h.Create(stream, Watch("k", "l", static_cast<int64_t>(2 + stream % 20)));
  }
  CHECK(h.CatchUp() <= 3);
  for (WatchStreamId stream = 1; stream <= 300; ++stream) {
    const Responses got = h.sink.Take(stream);
    REQUIRE(got.size() == 1);
    REQUIRE(got[0].events_size() == static_cast<int>(50 - stream % 20));
  }
}

TEST_CASE("watch: a stream with many waiting watches does not keep others from the next job") {
  Harness h;
  h.Put("k", "v");
  h.hub.OpenStream(1);
  h.hub.OpenStream(2);
  for (int i = 0; i < 2000; ++i) h.Create(1, Watch("k", "", 2));
  h.Create(2, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  REQUIRE(jobs.size() >= 1);
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(Show(h.sink.Take(2)) == "0: PUT k=v@2\n");
}

TEST_CASE("watch: compaction cancels watches that still need older revisions, and no others") {
  Harness h;
  for (WatchStreamId stream = 1; stream <= 4; ++stream) h.hub.OpenStream(stream);
  h.Create(1, Watch("k"));          // will be slow
  h.Create(2, Watch("k"));          // keeps up
  h.Create(3, Watch("k", "", 20));  // future
  h.sink.streams[1].room = 0;
  for (const char* value : {"1", "2", "3", "4"}) h.Put("k", value);
  h.sink.Take(2);
  h.Create(4, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();  // for stream 4
  REQUIRE(jobs.size() == 1);
  h.Compact(4);
  for (const WatchStreamId stream : {1, 4}) {
    const Responses got = h.sink.Take(stream);
    REQUIRE(Show(got) == "0: canceled\n");
    CHECK(got[0].compact_revision() == 4);
    CHECK(got[0].header().revision() == 0);
    CHECK(got[0].cancel_reason().empty());
  }
  jobs[0]->Run(*h.store.Pin());
  h.hub.Finish(std::move(jobs[0]));
  CHECK(h.sink.Take(4).empty());
  CHECK(h.sink.Take(2).empty());
  CHECK(h.sink.Take(3).empty());
  CHECK(h.hub.counters().watchers == 2);
}

TEST_CASE("watch: a slow watch that needs exactly the compacted revision lives on") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("k"));
  h.Put("other", "x");
  h.sink.streams[1].room = 0;
  h.Put("k", "1");
  h.Compact(3);
  CHECK(h.sink.Take(1).empty());
  h.sink.streams[1].room = 1;
  h.hub.StreamWritable(1);
  h.CatchUp();
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=1@3\n");
}

// Under a sanitizer this shows that a job shares nothing with the hub while it runs.
TEST_CASE("watch: jobs run on other threads while the hub goes on") {
  Harness h({.catch_up_revisions_max = 20});
  for (int i = 0; i < 100; ++i) h.Put("k" + std::to_string(i % 10), std::to_string(i));
  WatchCreateRequest create = Watch("k", "l", 2);
  create.set_prev_kv(true);
  for (WatchStreamId stream = 1; stream <= 20; ++stream) {
    h.hub.OpenStream(stream);
    h.Create(stream, create);
    create.set_start_revision(static_cast<int64_t>(2 + 4 * stream));
  }
  int written = 100;
  for (auto jobs = h.hub.TakeJobs(); !jobs.empty(); jobs = h.hub.TakeJobs()) {
    std::vector<std::thread> workers;
    for (auto& job : jobs) {
      workers.emplace_back([&job, history = h.store.Pin()] { job->Run(*history); });
    }
    h.Put("k" + std::to_string(written % 10), std::to_string(written));
    ++written;
    if (written == 103) h.hub.CloseStream(7);
    for (std::thread& worker : workers) worker.join();
    for (auto& job : jobs) h.hub.Finish(std::move(job));
  }
  REQUIRE(written > 103);
  for (WatchStreamId stream = 1; stream <= 20; ++stream) {
    if (stream == 7) continue;
    INFO("stream " << stream);
    int64_t expected = stream == 1 ? 2 : static_cast<int64_t>(2 + 4 * (stream - 1));
    for (const WatchResponse& response : h.sink.Take(stream)) {
      for (const mvccpb::Event& event : response.events()) {
        REQUIRE(event.kv().mod_revision() == expected++);
        REQUIRE(event.has_prev_kv() == (event.kv().mod_revision() > 11));
      }
    }
    CHECK(expected == written + 2);
  }
}

}  // namespace
}  // namespace quorate::engine
