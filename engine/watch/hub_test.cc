// Watches from creation to cancel, and what a watch is shown: wire semantics §5, one by one.
#include "engine/watch/hub.h"

#include <catch2/catch.hpp>

#include "engine/errors.h"
#include "engine/watch/watch_test_util.h"

namespace quorate::engine {
namespace {

using watch_test::Harness;
using watch_test::kEverything;
using watch_test::Responses;
using watch_test::Show;
using watch_test::Watch;
using watch_test::WatchCreateRequest;
using watch_test::WatchRequest;

TEST_CASE("watch: a created reply first, then live events of key, range and from-key watches") {
  Harness h;
  h.hub.OpenStream(1);
  const Responses created = h.Create(1, Watch("b"));
  REQUIRE(Show(created) == "0: created\n");
  CHECK(created[0].header().revision() == 1);
  CHECK(created[0].header().cluster_id() == 77);
  CHECK(created[0].header().member_id() == ~uint64_t{5});
  CHECK(created[0].header().raft_term() == 3);
  h.Create(1, Watch("b", "d"));
  h.Create(1, Watch("c", kEverything));
  h.Create(1, Watch("", kEverything));  // the empty key is the smallest one
  h.Put("a", "1");
  CHECK(Show(h.sink.Take(1)) == "3: PUT a=1@2\n");
  h.Put("b", "2");
  CHECK(Show(h.sink.Take(1)) == "0: PUT b=2@3\n1: PUT b=2@3\n3: PUT b=2@3\n");
  h.Put("zz", "3");
  const Responses last = h.sink.Take(1);
  CHECK(Show(last) == "2: PUT zz=3@4\n3: PUT zz=3@4\n");
  CHECK(last[0].header().revision() == 4);
  CHECK(last[0].header().member_id() == ~uint64_t{5});
  h.Txn({{"b", std::nullopt}, {"c", "4"}});
  CHECK(Show(h.sink.Take(1)) ==
        "0: DELETE b@5\n1: DELETE b@5 PUT c=4@5\n2: PUT c=4@5\n3: DELETE b@5 PUT c=4@5\n");
  CHECK(h.hub.counters().watchers == 4);
  CHECK(h.hub.counters().slow_watchers == 0);
  CHECK(h.hub.counters().events_sent == 12);
}

TEST_CASE("watch: a delete event holds key and mod_revision only, a put the whole pair") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("k"));
  h.Put("k", "v");
  h.Delete("k");
  const Responses got = h.sink.Take(1);
  REQUIRE(Show(got) == "0: PUT k=v@2\n0: DELETE k@3\n");
  CHECK(got[0].events(0).kv().version() == 1);
  CHECK(got[0].events(0).kv().create_revision() == 2);
  mvccpb::KeyValue deleted;
  deleted.set_key("k");
  deleted.set_mod_revision(3);
  CHECK(got[1].events(0).kv().SerializeAsString() == deleted.SerializeAsString());
  // Catch-up gives the same.
  h.Create(1, Watch("k", "", 2));
  h.CatchUp();
  const Responses again = h.sink.Take(1);
  REQUIRE(Show(again) == "1: PUT k=v@2 DELETE k@3\n");
  CHECK(again[0].events(1).kv().SerializeAsString() == deleted.SerializeAsString());
}

TEST_CASE("watch: ids are picked from 0 on, skip used ones, and duplicates are refused") {
  Harness h;
  h.hub.OpenStream(1);
  h.hub.OpenStream(2);
  WatchCreateRequest create = Watch("a");
  create.set_watch_id(1);
  CHECK(Show(h.Create(1, create)) == "1: created\n");
  CHECK(Show(h.Create(1, Watch("a"))) == "0: created\n");
  CHECK(Show(h.Create(1, Watch("a"))) == "2: created\n");
  create.set_watch_id(-9);
  CHECK(Show(h.Create(1, create)) == "-9: created\n");
  const Responses refused = h.Create(1, create);
  CHECK(Show(refused) == "-1: created canceled\n");
  CHECK(refused[0].cancel_reason() == errors::kWatchDuplicateId);
  CHECK(refused[0].header().revision() == 1);
  CHECK(Show(h.Create(2, Watch("a"))) == "0: created\n");  // ids are per stream
  h.Put("a", "x");
  CHECK(Show(h.sink.Take(1)) == "1: PUT a=x@2\n0: PUT a=x@2\n2: PUT a=x@2\n-9: PUT a=x@2\n");
  CHECK(h.hub.counters().watchers == 5);
}

TEST_CASE("watch: an empty or reversed range is refused") {
  Harness h;
  h.hub.OpenStream(1);
  for (const char* end : {"b", "a"}) {
    const Responses refused = h.Create(1, Watch("b", end));
    CHECK(Show(refused) == "-1: created canceled\n");
    CHECK(refused[0].cancel_reason() == errors::kWatchEmptyRange);
  }
  CHECK(h.hub.counters().watchers == 0);
  CHECK(Show(h.Create(1, Watch("b"))) == "0: created\n");  // no id was spent
}

TEST_CASE("watch: start_revision 0 is from now, the future waits, the past is caught up") {
  Harness h;
  h.hub.OpenStream(1);
  h.Put("k", "2");
  h.Put("k", "3");
  h.Create(1, Watch("k"));         // id 0
  h.Create(1, Watch("k", "", 5));  // id 1
  h.Create(1, Watch("k", "", 2));  // id 2
  h.Create(1, Watch("k", "", 3));  // id 3
  CHECK(h.hub.counters().slow_watchers == 2);
  h.Put("k", "4");
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=4@4\n");
  CHECK(h.CatchUp() == 1);  // one job for both
  const Responses caught_up = h.sink.Take(1);
  CHECK(Show(caught_up) == "2: PUT k=2@2 PUT k=3@3 PUT k=4@4\n3: PUT k=3@3 PUT k=4@4\n");
  CHECK(caught_up[0].header().revision() == 4);
  CHECK(h.hub.counters().slow_watchers == 0);
  h.Put("k", "5");
  CHECK(Show(h.sink.Take(1)) == "0: PUT k=5@5\n1: PUT k=5@5\n2: PUT k=5@5\n3: PUT k=5@5\n");
}

TEST_CASE("watch: a negative start_revision is refused with the compacted text") {
  Harness h;
  h.hub.OpenStream(1);
  const Responses refused = h.Create(1, Watch("k", "", -1));
  CHECK(Show(refused) == "-1: created canceled\n");
  CHECK(refused[0].cancel_reason() == errors::kWatchCompacted);
  CHECK(refused[0].compact_revision() == 0);
}

TEST_CASE("watch: a start below the compacted revision is created, then cancelled") {
  Harness h;
  h.store.keep_garbage = GENERATE(false, true);
  h.hub.OpenStream(1);
  for (const char* value : {"2", "3", "4"}) h.Put("k", value);
  h.Compact(3);
  const Responses got = h.Create(1, Watch("k", "", 2));
  REQUIRE(Show(got) == "0: created\n0: canceled\n");
  CHECK(got[0].header().revision() == 4);
  CHECK(got[1].header().revision() == 0);
  CHECK(got[1].header().raft_term() == 3);
  CHECK(got[1].compact_revision() == 3);
  CHECK(got[1].cancel_reason().empty());
  CHECK(h.hub.counters().watchers == 0);
  CHECK(h.CatchUp() == 0);

  WatchCreateRequest at_compacted = Watch("k", "", 3);
  at_compacted.set_prev_kv(true);
  h.Create(1, at_compacted);
  h.CatchUp();
  CHECK(Show(h.sink.Take(1)) == "1: PUT k=3@3 PUT k=4@4<3@3\n");  // revision 2 is gone
}

TEST_CASE("watch: filters leave out puts or deletes and send nothing when nothing is left") {
  Harness h;
  h.hub.OpenStream(1);
  WatchCreateRequest no_put = Watch("k");
  no_put.add_filters(WatchCreateRequest::NOPUT);
  WatchCreateRequest no_delete = Watch("k");
  no_delete.add_filters(WatchCreateRequest::NODELETE);
  WatchCreateRequest unknown = Watch("k");
  unknown.add_filters(static_cast<WatchCreateRequest::FilterType>(9));
  WatchCreateRequest neither = no_put;
  neither.add_filters(WatchCreateRequest::NODELETE);
  for (auto* create : {&no_put, &no_delete, &unknown, &neither}) h.Create(1, *create);
  h.Put("k", "v");
  h.Delete("k");
  CHECK(Show(h.sink.Take(1)) == "1: PUT k=v@2\n2: PUT k=v@2\n0: DELETE k@3\n2: DELETE k@3\n");
  for (auto* create : {&no_put, &no_delete, &unknown, &neither}) {
    create->set_start_revision(2);
    h.Create(1, *create);
  }
  h.CatchUp();
  CHECK(Show(h.sink.Take(1)) == "4: DELETE k@3\n5: PUT k=v@2\n6: PUT k=v@2 DELETE k@3\n");
}

TEST_CASE("watch: prev_kv is what lived before the transaction, live and caught up") {
  Harness h;
  h.hub.OpenStream(1);
  WatchCreateRequest create = Watch("a", "z");
  create.set_prev_kv(true);
  h.Create(1, create);
  h.Create(1, Watch("a", "z"));
  h.Put("k", "1");
  h.Put("k", "2");
  h.Txn({{"k", std::nullopt}, {"k", "3"}});  // possible through etcd's duplicate-key gap
  h.Txn({{"k", "4"}, {"k", std::nullopt}, {"n", "5"}});
  const std::string expected[] = {"PUT k=1@2", "PUT k=2@3<1@2", "DELETE k@4<2@3 PUT k=3@4",
                                  "PUT k=4@5<3@4 DELETE k@5<3@4 PUT n=5@5"};
  std::string live, joined = "2:";
  const std::string plain[] = {"PUT k=1@2", "PUT k=2@3", "DELETE k@4 PUT k=3@4",
                               "PUT k=4@5 DELETE k@5 PUT n=5@5"};
  for (int i = 0; i < 4; ++i) {
    live += "0: " + expected[i] + "\n1: " + plain[i] + "\n";
    joined += " " + expected[i];
  }
  CHECK(Show(h.sink.Take(1)) == live);
  create.set_start_revision(2);
  h.Create(1, create);
  h.CatchUp();
  CHECK(Show(h.sink.Take(1)) == joined + "\n");
  // From the middle: the pair before the stretch comes from the store.
  create.set_start_revision(5);
  h.Create(1, create);
  h.CatchUp();
  CHECK(Show(h.sink.Take(1)) == "3: PUT k=4@5<3@4 DELETE k@5<3@4 PUT n=5@5\n");
}

TEST_CASE(
    "watch: events that cannot be read with their previous pair end the watch with a reason") {
  Harness h;
  h.hub.OpenStream(1);
  WatchCreateRequest create = Watch("k");
  create.set_prev_kv(true);
  h.Create(1, create);
  h.Create(1, Watch("k"));
  h.Put("k", "1");
  h.sink.Take(1);
  h.store.read_error = absl::DataLossError("file x, offset 9");
  h.Put("k", "2");
  const Responses got = h.sink.Take(1);
  REQUIRE(Show(got) == "0: canceled\n1: PUT k=2@3\n");
  CHECK(got[0].cancel_reason().find("file x, offset 9") != std::string::npos);
  h.store.read_error = absl::OkStatus();

  h.Create(1, Watch("k", "", 2));
  auto jobs = h.hub.TakeJobs();
  REQUIRE(jobs.size() == 1);
  auto history = h.store.Pin();
  history->error = absl::DataLossError("file y");
  jobs[0]->Run(*history);
  h.hub.Finish(std::move(jobs[0]));
  const Responses failed = h.sink.Take(1);
  REQUIRE(Show(failed) == "2: canceled\n");
  CHECK(failed[0].cancel_reason().find("file y") != std::string::npos);
}

TEST_CASE("watch: cancel answers the id, unknown ids and unknown requests are silent") {
  Harness h;
  h.hub.OpenStream(1);
  h.Create(1, Watch("k"));
  CHECK(h.Cancel(1, 5).empty());
  h.Put("x", "1");
  const Responses canceled = h.Cancel(1, 0);
  CHECK(Show(canceled) == "0: canceled\n");
  CHECK(canceled[0].header().revision() == 2);
  CHECK(canceled[0].cancel_reason().empty());
  CHECK(h.Cancel(1, 0).empty());
  h.hub.Request(1, WatchRequest());
  h.hub.Request(42, WatchRequest());  // no such stream
  h.Put("k", "1");
  CHECK(h.sink.Take(1).empty());
  CHECK(Show(h.Create(1, Watch("k"))) == "1: created\n");  // ids are not reused by the server
}

}  // namespace
}  // namespace quorate::engine
