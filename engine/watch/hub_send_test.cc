// How messages are made: fragments, headers, sharing between streams, memory.
#include <malloc.h>

#include <catch2/catch.hpp>

#include "engine/watch/hub.h"
#include "engine/watch/watch_test_util.h"

namespace quorate::engine {
namespace {

using watch_test::Harness;
using watch_test::Responses;
using watch_test::Show;
using watch_test::Watch;
using watch_test::WatchCreateRequest;
using watch_test::WatchRequest;

TEST_CASE("watch: fragments stay below the limit and all but the last say so") {
  Harness h({.fragment_bytes = 350});
  h.hub.OpenStream(1);
  WatchCreateRequest create = Watch("a", "z");
  create.set_fragment(true);
  h.Create(1, create);
  h.Create(1, Watch("a", "z"));
  const std::string value(100, 'v');
  h.Txn({{"a", value}, {"b", value}, {"c", value}, {"d", value}, {"e", std::string(900, 'e')}});
  const Responses got = h.sink.Take(1);
  REQUIRE(got.size() == 4);
  CHECK(got[0].events_size() == 2);
  CHECK(got[0].fragment());
  CHECK(got[0].ByteSizeLong() < 350);
  CHECK(got[1].events_size() == 2);
  CHECK(got[1].fragment());
  CHECK(got[2].events_size() == 1);  // one event is never split
  CHECK_FALSE(got[2].fragment());
  CHECK(got[3].watch_id() == 1);
  CHECK(got[3].events_size() == 5);  // not asked for: no limit
  h.Put("a", "small");
  CHECK(Show(h.sink.Take(1)) == "0: PUT a=small@3\n1: PUT a=small@3\n");
}

TEST_CASE("watch: header.revision is the store's when sent") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("k"));
  const EventBatchPtr first = h.store.Apply({{"k", "1"}});
  const EventBatchPtr second = h.store.Apply({{"k", "2"}});
  // A watch made between applying and publishing starts behind what it was told.
  const Responses created = h.Create(1, Watch("k"));
  CHECK(created[0].header().revision() == 3);
  h.hub.Publish(first);
  const Responses got = h.sink.Take(1);
  CHECK(Show(got) == "0: PUT k=1@2\n");
  CHECK(got[0].header().revision() == 3);
  h.hub.Publish(second);
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=2@3\n");
}

TEST_CASE("watch: an event is encoded once for all who get it") {
  Harness h;
  for (WatchStreamId stream = 1; stream <= 3; ++stream) {
    h.hub.OpenStream(stream);
    h.Create(stream, Watch("k"));
    h.Create(stream, Watch("a", "z"));
  }
  h.Put("k", "value");
  const char* shared = h.sink.streams[1].pieces[0].at(1).data();
  for (WatchStreamId stream = 1; stream <= 3; ++stream) {
    REQUIRE(h.sink.streams[stream].pieces.size() == 2);
    for (const auto& pieces : h.sink.streams[stream].pieces) {
      REQUIRE(pieces.size() == 2);
      CHECK(pieces[1].data() == shared);
    }
  }
  // A whole transaction is one piece.
  for (WatchStreamId stream = 1; stream <= 3; ++stream) h.sink.Take(stream);
  h.Txn({{"b", "1"}, {"c", "2"}, {"d", "3"}});
  REQUIRE(h.sink.streams[1].pieces.size() == 1);
  CHECK(h.sink.streams[1].pieces[0].size() == 2);
}

TEST_CASE("watch: large values are shared with the window, small ones do not pin large blocks") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("small"));
  h.Create(1, Watch("a", "z"));
  const EventBatchPtr large = h.store.Apply({{"big", std::string(100'000, 'x')}, {"small", "s"}});
  h.hub.Publish(large);
  const auto& pieces = h.sink.streams[1].pieces;
  REQUIRE(pieces.size() == 2);
  CHECK(pieces[1].at(2).data() == large->events[0].kv.data());
  CHECK(Show({h.sink.streams[1].received[0]}) == "0: PUT small=s@2\n");
  CHECK(h.sink.streams[1].received[1].events(0).kv().value().size() == 100'000);

  h.sink.Take(1);
  h.Txn({{"k1", std::string(9000, 'x')}, {"small", "t"}, {"k2", std::string(9000, 'y')}});
  REQUIRE(pieces.size() == 2);
  const char* copy = pieces[0].at(1).data();
  const std::string_view block = pieces[1].at(1).view();
  CHECK((copy < block.data() || copy >= block.data() + block.size()));
}

TEST_CASE("watch: an idle watch costs at most 500 bytes") {
  const size_t streams = GENERATE(size_t{1}, size_t{20'000});
  constexpr size_t kWatches = 20'000;
  Harness h;
  const size_t before = mallinfo2().uordblks;
  for (size_t i = 0; i < kWatches; ++i) {
    const WatchStreamId stream = i % streams;
    if (i < streams) h.hub.OpenStream(stream);
    WatchRequest request;
    request.mutable_create_request()->set_key("/registry/pods/namespace/pod-" + std::to_string(i));
    h.hub.Request(stream, request);
    h.sink.streams.clear();
  }
  const size_t after = mallinfo2().uordblks;
  if (after == before) {
    WARN("this allocator does not count: not measured");
    return;
  }
  CHECK((after - before) / kWatches <= 500);
}

}  // namespace
}  // namespace quorate::engine
