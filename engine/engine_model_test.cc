// The whole engine beside its model: random entries, and after each the same reply, the same events
// and the same answers, wherever the records happen to be: in the open chunk, in sealed ones, in
// any backend, half compacted, or back after a restart at any flushed point.
#include "engine/engine_model.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/temp_dir.h"
#include "base/test_seed.h"
#include "engine/engine.h"
#include "engine/engine_draws.h"
#include "engine/invariants.h"

namespace quorate::engine {
namespace {

using etcdserverpb::InternalRaftRequest;
using Answer = EngineModel::Answer;
using Garbage = EngineModel::Garbage;

const HeaderFields kHeader{ClusterId(77), MemberId(~uint64_t{5}), Term(3)};
constexpr int64_t kNow = 0;
constexpr uint64_t kSeeds = 6;
constexpr int kSteps = 2500;

template <class T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *std::move(made);
}

// Both answers in protobuf's own encoding: fields may come in another order.
template <class Message>
void RequireEqual(const Reply& got, const Answer& expected) {
  REQUIRE(got.error.code == expected.error.code);
  REQUIRE(got.error.message == expected.error.message);
  if (!got.error.ok()) return;
  Message mine, other;
  REQUIRE(mine.ParseFromString(got.body));
  REQUIRE(other.ParseFromString(expected.body));
  if (mine.SerializeAsString() == other.SerializeAsString()) return;
  INFO("engine: " << mine.ShortDebugString());
  INFO("model:  " << other.ShortDebugString());
  REQUIRE(false);
}

void RequireEqual(const InternalRaftRequest& request, const Reply& got, const Answer& expected) {
  INFO("request: " << request.ShortDebugString());
  if (request.has_put()) return RequireEqual<etcdserverpb::PutResponse>(got, expected);
  if (request.has_txn()) return RequireEqual<etcdserverpb::TxnResponse>(got, expected);
  if (request.has_delete_range()) {
    return RequireEqual<etcdserverpb::DeleteRangeResponse>(got, expected);
  }
  if (request.has_compaction()) {
    return RequireEqual<etcdserverpb::CompactionResponse>(got, expected);
  }
  if (request.has_lease_grant())
    return RequireEqual<etcdserverpb::LeaseGrantResponse>(got, expected);
  if (request.has_lease_revoke()) {
    return RequireEqual<etcdserverpb::LeaseRevokeResponse>(got, expected);
  }
  RequireEqual<etcdserverpb::AlarmResponse>(got, expected);
}

std::string TextOf(const std::vector<EventBatchPtr>& batches) {
  std::string text;
  for (const EventBatchPtr& batch : batches) {
    text += "@" + std::to_string(batch->revision);
    for (const Event& event : batch->events) {
      text += event.record.kind == RecordKind::kPut ? "+" : "-";
      text += std::string(event.key) + "=" + std::string(event.kv);
      if (event.previous) text += "<" + std::to_string(event.previous->revision.main);
    }
  }
  return text;
}

std::string TextOf(const std::vector<EngineModel::Change>& changes) {
  std::string text;
  for (const EngineModel::Change& change : changes) {
    if (text.empty()) text = "@" + std::to_string(change.main);
    mvccpb::KeyValue kv = change.kv;
    if (change.tombstone) kv.set_mod_revision(change.main);
    text += (change.tombstone ? "-" : "+") + kv.key() + "=" + kv.SerializeAsString();
    if (change.previous) text += "<" + std::to_string(change.previous->mod_revision());
  }
  return text;
}

class World {
 public:
  World(std::string_view backend, uint64_t seed)
      : random_(seed), model_(kHeader), draws_(&random_, &model_) {
    kv::KvOptions kv_options;
    kv_options.dir = folder_.path() + "/kv";
    kv_options.map_bytes_max = uint64_t{1} << 30;
    backend_ = Must(kv::OpenKvBackend(backend, kv_options));
    allocator_ = Must(CreateAllocator(random_.OneIn(2) ? "malloc" : "arena", {}));
    options_.allocator = allocator_.get();
    options_.chunk_bytes = static_cast<uint64_t>(random_.Between(200, 3000));
    options_.range_inline_bytes = random_.OneIn(2) ? 64 << 10 : 200;
    options_.range_slice_keys = static_cast<uint32_t>(random_.Between(1, 4));
    options_.request_bytes_max = static_cast<uint64_t>(random_.Between(50, 2000));
    Open();
  }
  ~World() {
    cursor_.reset();
    engine_.reset();
  }

  void Step() {
    const uint64_t roll = random_.Below(100);
    if (roll < 55) {
      ApplyNew();
    } else if (roll < 70) {
      Read();
    } else if (roll < 73) {
      ReadTxn();
    } else if (roll < 75) {
      CompareHash(draws_.Revision());
    } else if (roll < 78) {
      StepCursor();
    } else if (roll < 80) {
      CompareLeases();
    } else if (roll < 98 || !random_.OneIn(3)) {
      GoOnInBackground();
    } else {
      Restart();
    }
    Look(++steps_ % 16 == 0 ? EngineInvariants::Depth::kFull : EngineInvariants::Depth::kCheap);
  }

  void Apply(const InternalRaftRequest& request) {
    Logged logged;
    logged.entry.term = kHeader.term;
    logged.entry.index = engine_->applied_index().Next();
    logged.entry.data = Bytes::FromString(request.SerializeAsString());
    const Answer expected = model_.Apply(request);
    logged.reply = engine_->Apply(logged.entry, Engine::Answer::kWanted);
    RequireEqual(request, logged.reply, expected);
    logged.events = TextOf(engine_->TakeEvents());
    REQUIRE(logged.events == TextOf(model_.last_changes()));
    log_.push_back(std::move(logged));
  }

  etcdserverpb::RangeResponse Read(const etcdserverpb::RangeRequest& request) {
    auto result = engine_->Range(request);
    RequireEqual<etcdserverpb::RangeResponse>(std::get<Reply>(result), model_.Range(request));
    etcdserverpb::RangeResponse response;
    REQUIRE(response.ParseFromString(std::get<Reply>(result).body));
    return response;
  }
  Engine& engine() { return *engine_; }

  // All work done, all flushed: now every answer is certain, and nothing is left over.
  void Settle() {
    cursor_.reset();
    FlushAll();
    Look(EngineInvariants::Depth::kFull);
    REQUIRE_FALSE(engine_->CompactionPending());
    CompareHash(0);
    for (int i = 0; i < 20; ++i) CompareHash(draws_.Revision());
    CompareLeases();
    Restart();
    Look(EngineInvariants::Depth::kFull);
  }

  // Nothing lives: the one case in which HashKV counts what a compaction left of dead keys.
  void Empty() {
    InternalRaftRequest request;
    request.mutable_delete_range()->set_key("\0", 1);
    request.mutable_delete_range()->set_range_end("\0", 1);
    Apply(request);
    request.clear_delete_range();
    request.mutable_compaction()->set_revision(model_.current());
    Apply(request);
    FlushAll();
    CompareHash(0);
  }

  uint64_t restarts() const { return restarts_; }
  uint64_t replayed() const { return replayed_; }
  uint64_t hashes() const { return hashes_; }
  uint64_t hashes_kept() const { return hashes_kept_; }
  uint64_t slices() const { return slices_; }

 private:
  struct Logged {
    Entry entry;
    Reply reply;
    std::string events;
  };

  void Open() {
    engine_ = Must(Engine::Open(options_, backend_.get(), [](uint64_t) {}));
    engine_->SetHeader(kHeader);
    invariants_.Restarted();
  }

  void Look(EngineInvariants::Depth depth) {
    const absl::Status status = invariants_.Look(*engine_, depth);
    INFO(std::string(status.message()));
    REQUIRE(status.ok());
    REQUIRE(engine_->current_revision() == model_.current());
    REQUIRE(engine_->compact_revision() == model_.compacted());
    REQUIRE(engine_->alarms().size() == model_.alarms().size());
  }

  void ApplyNew() { Apply(draws_.Entry()); }

  void Read() {
    const etcdserverpb::RangeRequest request = draws_.Range();
    INFO("request: " << request.ShortDebugString());
    const Answer expected = model_.Range(request);
    if (random_.OneIn(3) && request.sort_target() == etcdserverpb::RangeRequest::KEY &&
        Engine::CheckRangeStream(request).ok()) {
      return ReadStream(request, expected);
    }
    auto result = engine_->Range(request);
    if (auto* reply = std::get_if<Reply>(&result)) {
      return RequireEqual<etcdserverpb::RangeResponse>(*reply, expected);
    }
    // A large one is read in the course of the next steps.
    cursor_ = std::get<std::unique_ptr<RangeCursor>>(std::move(result));
    cursor_expected_ = expected;
    cursor_bytes_.clear();
  }

  void StepCursor() {
    if (cursor_ == nullptr) return;
    const std::unique_ptr<RangeCursor::Slice> slice = cursor_->NextSlice(random_.Below(300));
    if (slice != nullptr) {
      cursor_bytes_ += Must(slice->Encode());
      ++slices_;
      return;
    }
    REQUIRE(cursor_bytes_.size() == cursor_->total_bytes());
    RequireEqual<etcdserverpb::RangeResponse>({{}, cursor_bytes_}, cursor_expected_);
    cursor_.reset();
  }

  void ReadStream(const etcdserverpb::RangeRequest& request, const Answer& expected) {
    auto result = engine_->RangeStream(request);
    if (auto* reply = std::get_if<Reply>(&result)) {
      return RequireEqual<etcdserverpb::RangeResponse>(*reply, expected);
    }
    auto& parts = *std::get<std::unique_ptr<Engine::RangeStreamCursor>>(result);
    etcdserverpb::RangeResponse whole;
    while (std::optional<Reply> part = parts.Next()) {
      etcdserverpb::RangeStreamResponse response;
      REQUIRE(response.ParseFromString(part->body));
      REQUIRE_FALSE(whole.has_header());  // in the last part alone
      whole.MergeFrom(response.range_response());
    }
    RequireEqual<etcdserverpb::RangeResponse>({{}, whole.SerializeAsString()}, expected);
  }

  void ReadTxn() {
    const etcdserverpb::TxnRequest request = draws_.ReadTxn();
    INFO("request: " << request.ShortDebugString());
    RequireEqual<etcdserverpb::TxnResponse>(engine_->ReadTxn(request), model_.ReadTxn(request));
  }

  Garbage GarbageNow() const {
    const bool gone = engine_->PhysicallyCompacted() == engine_->compact_revision();
    return gone ? Garbage::kGone : Garbage::kMayBeThere;
  }

  void CompareHash(int64_t revision) {
    INFO("HashKV of " << revision);
    const std::optional<Answer> expected = model_.HashKv(revision, GarbageNow());
    auto result = engine_->HashKv(revision);
    if (auto* job = std::get_if<std::unique_ptr<ReadJob>>(&result)) result = (*job)->Run();
    if (!expected) return;
    RequireEqual<etcdserverpb::HashKVResponse>(std::get<Reply>(result), *expected);
    ++hashes_;
  }

  void CompareLeases() {
    Lessor& lessor = engine_->lessor();
    REQUIRE(lessor.size() == model_.leases().size());
    for (const auto& [id, ttl] : model_.leases()) {
      const auto lease = lessor.GetTimeToLive(LeaseId(id), kNow, Lessor::Keys::kInclude);
      REQUIRE(lease.granted_ttl_seconds == ttl);
      const std::set<std::string> keys = model_.KeysOf(id);
      REQUIRE(std::equal(lease.keys.begin(), lease.keys.end(), keys.begin(), keys.end()));
    }
  }

  // Some of what a backend writer and the compaction would do by now.
  void GoOnInBackground() {
    if (engine_->CompactionPending() && random_.OneIn(2)) {
      if (!random_.OneIn(4)) TakeHash();
      engine_->CompactSlice(static_cast<uint32_t>(random_.Between(1, 6)));
    }
    if (random_.OneIn(2)) KeepHashes();
    TakeSealed(random_.OneIn(5) ? Engine::Seal::kNow : Engine::Seal::kFullOnly);
    while (!sealed_.empty() && random_.OneIn(2)) WriteOne();
    while (!written_.empty() && random_.OneIn(2)) FlushOne();
  }
  void TakeHash() {
    std::unique_ptr<CompactionHash> hash = engine_->TakeCompactionHash();
    if (hash == nullptr) return;
    const int64_t before = model_.CompactionBefore(hash->revision());
    const bool gone = engine_->PhysicallyCompacted() == before;
    taken_hashes_.emplace_back(std::move(hash), gone ? Garbage::kGone : Garbage::kMayBeThere);
  }
  void KeepHashes() {
    for (auto& [hash, garbage] : taken_hashes_) {
      hash->Run();
      model_.KeepCompactionHash(hash->revision(), garbage);
      engine_->KeepCompactionHash(std::move(hash));
      ++hashes_kept_;
    }
    taken_hashes_.clear();
  }
  void TakeSealed(Engine::Seal seal) {
    for (auto& chunk : engine_->TakeSealed(seal)) sealed_.push_back(std::move(chunk));
  }
  void WriteOne() {
    REQUIRE(backend_->Write(sealed_.front()->ops()).ok());
    written_.push_back(sealed_.front()->sequence());
    sealed_.pop_front();
  }
  void FlushOne() {
    engine_->Flushed(written_.front());
    written_.pop_front();
  }
  void FlushAll() {
    while (engine_->CompactionPending()) engine_->CompactSlice(1000);
    TakeSealed(Engine::Seal::kNow);
    while (!sealed_.empty()) WriteOne();
    while (!written_.empty()) FlushOne();
  }

  // What the backend has is all that is left; the log does the rest, with the same words.
  void Restart() {
    cursor_.reset();
    engine_.reset();
    sealed_.clear();
    written_.clear();
    taken_hashes_.clear();
    Open();
    model_.ForgetCompactionHashes();
    ++restarts_;
    REQUIRE(engine_->applied_index().value() <= log_.size());
    for (size_t i = engine_->applied_index().value(); i < log_.size(); ++i) {
      const Reply reply = engine_->Apply(log_[i].entry, Engine::Answer::kWanted);
      REQUIRE(reply.error.message == log_[i].reply.error.message);
      REQUIRE(reply.body == log_[i].reply.body);
      REQUIRE(TextOf(engine_->TakeEvents()) == log_[i].events);
      ++replayed_;
    }
  }

  Random random_;
  EngineModel model_;
  EngineDraws draws_;
  TempDir folder_;
  std::unique_ptr<kv::KvBackend> backend_;
  std::unique_ptr<Allocator> allocator_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  EngineInvariants invariants_;
  std::vector<Logged> log_;
  std::deque<std::shared_ptr<const FlushChunk>> sealed_;
  std::deque<uint64_t> written_;  // by the backend; the engine does not know yet
  std::unique_ptr<RangeCursor> cursor_;
  Answer cursor_expected_;
  std::string cursor_bytes_;
  std::deque<std::pair<std::unique_ptr<CompactionHash>, Garbage>> taken_hashes_;
  uint64_t steps_ = 0, restarts_ = 0, replayed_ = 0, hashes_ = 0, slices_ = 0, hashes_kept_ = 0;
};

TEST_CASE("engine: over every backend, replies, events and answers are the model's") {
  for (const kv::KvBackendRow& backend : kv::KvBackendRegistry()) {
    uint64_t restarts = 0, replayed = 0, hashes = 0, hashes_kept = 0, slices = 0;
    for (uint64_t seed = TestSeed(); seed < TestSeed() + kSeeds; ++seed) {
      INFO("QUORATE_SEED=" << seed << " backend " << std::string(backend.traits.name));
      World world(backend.traits.name, seed);
      for (int step = 0; step < kSteps; ++step) world.Step();
      world.Settle();
      world.Empty();
      restarts += world.restarts();
      replayed += world.replayed();
      hashes += world.hashes();
      hashes_kept += world.hashes_kept();
      slices += world.slices();
    }
    CHECK(restarts > kSeeds);
    CHECK(replayed > 20 * kSeeds);
    CHECK(hashes > 20 * kSeeds);
    CHECK(hashes_kept > kSeeds);
    CHECK(slices > 0);
  }
}

// etcd#22377: the deletion of "everything from a on" and the put of a later key meet in one
// revision, and that is the one compacted: the key lives.
TEST_CASE("engine: a key that is put again within the compacted revision stays") {
  for (const kv::KvBackendRow& backend : kv::KvBackendRegistry()) {
    INFO("backend " << std::string(backend.traits.name));
    World world(backend.traits.name, 1);
    InternalRaftRequest request;
    request.mutable_put()->set_key("b");
    request.mutable_put()->set_value("old");
    world.Apply(request);
    etcdserverpb::TxnRequest* txn = request.mutable_txn();
    txn->add_success()->mutable_request_delete_range()->set_key("a");
    txn->mutable_success(0)->mutable_request_delete_range()->set_range_end("\0", 1);
    txn->add_success()->mutable_request_put()->set_key("b");
    txn->mutable_success(1)->mutable_request_put()->set_value("new");
    request.clear_put();
    REQUIRE(Engine::CheckTxn(*txn, 128).ok());
    world.Apply(request);
    request.mutable_compaction()->set_revision(3);
    request.clear_txn();
    world.Apply(request);
    world.Settle();
    etcdserverpb::RangeRequest range;
    range.set_key("b");
    for (const int64_t revision : {0, 3}) {
      range.set_revision(revision);
      REQUIRE(world.Read(range).kvs_size() == 1);
      CHECK(world.Read(range).kvs(0).value() == "new");
      CHECK(world.Read(range).kvs(0).version() == 1);
    }
  }
}

TEST_CASE("engine: the invariants notice what went back and what changed without an entry") {
  World ahead("memory", 2), behind("memory", 2);
  InternalRaftRequest request;
  request.mutable_put()->set_key("a");
  behind.Apply(request);
  EngineInvariants invariants;
  constexpr auto kFull = EngineInvariants::Depth::kFull;
  ahead.Apply(request);
  ahead.Apply(request);
  REQUIRE(invariants.Look(ahead.engine(), kFull).ok());
  CHECK(std::string(invariants.Look(behind.engine(), kFull).message()).find("went back") !=
        std::string::npos);
  invariants.Restarted();
  CHECK(invariants.Look(behind.engine(), kFull).ok());
  // A key attached to a lease that it does not name.
  behind.engine().lessor().Grant(LeaseId(9), 10);
  behind.engine().lessor().Attach(LeaseId(9), "a");
  invariants.Restarted();
  CHECK(std::string(invariants.Look(behind.engine(), kFull).message()) ==
        "engine invariant: 1 keys are attached to leases, 0 name theirs");
}

}  // namespace
}  // namespace quorate::engine
