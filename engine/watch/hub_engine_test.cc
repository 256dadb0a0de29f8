// The hub over a real engine with tiny chunks, whose flushes and compaction slices come late and in
// bits: what watches see must not depend on where a record happens to be.
#include <catch2/catch.hpp>
#include <deque>
#include <span>

#include "backends/kv/kv_backend.h"
#include "base/temp_dir.h"
#include "engine/engine.h"
#include "engine/watch/hub_world.h"

namespace quorate::engine {
namespace {

using watch_test::BaseSeed;
using watch_test::Op;

class EngineStore final : public WatchStore {
 public:
  EngineStore(std::string_view backend, uint64_t seed) : random_(seed) {
    kv::KvOptions kv_options;
    kv_options.dir = folder_.path() + "/kv";
    kv_options.map_bytes_max = uint64_t{1} << 30;
    backend_ = Must(kv::OpenKvBackend(backend, kv_options));
    allocator_ = Must(CreateAllocator("malloc", {}));
    EngineOptions options;
    options.allocator = allocator_.get();
    options.chunk_bytes = 600;
    engine_ = Must(Engine::Open(options, backend_.get(), [](uint64_t) {}));
  }

  EventBatchPtr Apply(const std::vector<Op>& ops) {
    GoOnInBackground();
    etcdserverpb::InternalRaftRequest request;
    for (const Op& op : ops) {
      etcdserverpb::RequestOp* out = request.mutable_txn()->add_success();
      if (op.value.has_value()) {
        out->mutable_request_put()->set_key(op.key);
        out->mutable_request_put()->set_value(*op.value);
      } else {
        out->mutable_request_delete_range()->set_key(op.key);
      }
    }
    Commit(request);
    std::vector<EventBatchPtr> events = engine_->TakeEvents();
    REQUIRE(events.size() <= 1);
    return events.empty() ? nullptr : events.front();
  }

  void Compact(int64_t revision) {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_compaction()->set_revision(revision);
    Commit(request);
    GoOnInBackground();
  }

  std::unique_ptr<HistoryReader> Pin() const { return Must(engine_->NewHistoryReader()); }

  int64_t CurrentRevision() const override { return store().CurrentRevision(); }
  int64_t CompactRevision() const override { return store().CompactRevision(); }
  HeaderFields Header() const override { return store().Header(); }
  const RecordReader& Records() const override { return store().Records(); }
  std::optional<RecordRef> LiveBefore(std::string_view key, int64_t before_main) const override {
    return store().LiveBefore(key, before_main);
  }

 private:
  template <class T>
  static T Must(absl::StatusOr<T> made) {
    INFO(made.status().ToString());
    REQUIRE(made.ok());
    return *std::move(made);
  }
  const WatchStore& store() const { return engine_->watch_store(); }

  void Commit(const etcdserverpb::InternalRaftRequest& request) {
    Entry entry;
    entry.term = Term(1);
    entry.index = engine_->applied_index().Next();
    entry.data = Bytes::FromString(request.SerializeAsString());
    const Reply reply = engine_->Apply(entry, Engine::Answer::kWanted);
    INFO(reply.error.message);
    REQUIRE(reply.error.ok());
  }

  // Some of what a backend writer and the compaction would do by now.
  void GoOnInBackground() {
    if (random_.OneIn(3)) engine_->CompactSlice(static_cast<uint32_t>(random_.Between(1, 5)));
    const Engine::Seal seal = random_.OneIn(6) ? Engine::Seal::kNow : Engine::Seal::kFullOnly;
    for (auto& chunk : engine_->TakeSealed(seal)) sealed_.push_back(std::move(chunk));
    while (!sealed_.empty() && random_.OneIn(2)) {
      REQUIRE(backend_->Write(sealed_.front()->ops()).ok());
      written_.push_back(sealed_.front()->sequence());
      sealed_.pop_front();
    }
    while (!written_.empty() && random_.OneIn(2)) {
      engine_->Flushed(written_.front());
      written_.pop_front();
    }
  }

  Random random_;
  TempDir folder_;
  std::unique_ptr<kv::KvBackend> backend_;
  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<Engine> engine_;
  std::deque<std::shared_ptr<const FlushChunk>> sealed_;
  std::deque<uint64_t> written_;  // by the backend; the engine does not know yet
};

TEST_CASE("watch: over the engine and every backend, each watch sees exactly the model's events") {
  for (const kv::KvBackendRow& backend : kv::KvBackendRegistry()) {
    uint64_t events = 0, jobs = 0;
    for (uint64_t seed = BaseSeed(); seed < BaseSeed() + 3; ++seed) {
      INFO("QUORATE_SEED=" << seed << " backend " << std::string(backend.traits.name));
      watch_test::World<EngineStore> world(seed, backend.traits.name, seed + 1);
      for (int step = 0; step < 2500; ++step) world.Step();
      world.Settle();
      events += world.events_seen();
      jobs += world.catch_up_jobs();
    }
    CHECK(events > 3'000);
    CHECK(jobs > 300);
  }
}

}  // namespace
}  // namespace quorate::engine
