// One replica on virtual time: a raft of one member, a real engine over a backend that can refuse
// snapshots, and a hub with one reader. What the loops do between the steps is done here at once.
#include "server/replica.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::server {
namespace {

using etcdserverpb::InternalRaftRequest;
using etcdserverpb::WatchResponse;

constexpr int64_t kTickNs = 100'000'000;
constexpr int64_t kSecondNs = 1'000'000'000;

template <class T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *std::move(made);
}

class RefusingBackend final : public kv::KvBackend {
 public:
  explicit RefusingBackend(std::unique_ptr<kv::KvBackend> real) : real_(std::move(real)) {}
  const kv::KvTraits& traits() const override { return real_->traits(); }
  absl::Status Write(std::span<const kv::WriteOp> batch) override { return real_->Write(batch); }
  absl::Status Sync() override { return real_->Sync(); }
  absl::StatusOr<kv::ReclaimProgress> ReclaimStep() override { return real_->ReclaimStep(); }
  absl::Status Read(
      kv::Table table, std::span<const std::string_view> keys,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override {
    return real_->Read(table, keys, visitor);
  }
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> NewSnapshot() const override {
    if (refuse) return absl::ResourceExhaustedError("no snapshot to give");
    return real_->NewSnapshot();
  }
  kv::KvSizes Sizes() const override { return real_->Sizes(); }

  bool refuse = false;

 private:
  const std::unique_ptr<kv::KvBackend> real_;
};

class Sink final : public engine::WatchSink {
 public:
  void Send(engine::WatchStreamId, std::vector<Bytes> pieces) override {
    std::string whole;
    for (const Bytes& piece : pieces) whole += piece.view();
    REQUIRE(got.emplace_back().ParseFromString(whole));
  }
  bool HasRoom(engine::WatchStreamId) const override { return true; }

  std::vector<WatchResponse> got;
};

class Server {
 public:
  explicit Server(const ReplicaOptions& replica_options = {}) {
    kv::KvOptions kv_options;
    kv_options.dir = folder_.path() + "/kv";
    kv_options.map_bytes_max = uint64_t{1} << 30;
    backend = std::make_unique<RefusingBackend>(Must(kv::OpenKvBackend("lmdb", kv_options)));
    engine::EngineOptions options;
    options.allocator = allocator_.get();
    engine_ = Must(engine::Engine::Open(options, backend.get(), [](uint64_t) {}));
    consensus::InitialState initial;
    initial.conf_state.voters = {MemberId(1)};
    consensus::Config config;
    config.self = MemberId(1);
    raft_ = std::make_unique<consensus::Raft>(config, std::move(initial), &random_);
    hub_ = std::make_unique<engine::WatchHub>(engine::WatchHub::Options(),
                                              engine_->mutable_watch_store(), &sink, 1);
    replica_ = std::make_unique<Replica>(replica_options, raft_.get(), engine_.get(), hub_.get());
  }

  // Until nothing is left to do at this moment.
  void Settle() {
    for (bool more = true; more;) {
      replica_->CompactSlice();
      Effects effects = replica_->Advance(now_ns);
      more = effects.more;
      if (!effects.append.empty()) {
        const Entry& last = effects.append.back();
        replica_->Durable(last.index, last.term, now_ns);
        more = true;
      }
      for (const auto& chunk : effects.chunks) {
        REQUIRE(backend->Write(chunk->ops()).ok());
        replica_->Flushed(chunk->sequence());
        more = true;
      }
      for (CatchUpWork& work : effects.catch_up) {
        work.job->Run(*work.history);
        replica_->CatchUpDone(std::move(work.job));
        more = true;
      }
      for (auto& hash : effects.compaction_hashes) {
        if (hold_hashes) {
          held_hashes.push_back(std::move(hash));
          continue;
        }
        hash->Run();
        replica_->HashDone(std::move(hash));
        more = true;
      }
      for (Completion& completion : effects.completions) {
        if (completion.waiter.done) completion.waiter.done(std::move(completion.reply));
      }
    }
  }
  void Tick() {
    now_ns += kTickNs;
    replica_->Tick(now_ns);
    Settle();
  }
  void RunFor(int64_t ns) {
    for (const int64_t end_ns = now_ns + ns; now_ns < end_ns;) Tick();
  }
  void Lead() {
    while (!engine_->lessor().primary()) Tick();
  }

  void Propose(const InternalRaftRequest& request) {
    Proposal proposal;
    proposal.payload = Bytes::FromString(request.SerializeAsString());
    proposal.waiter.done = [](engine::Reply reply) {
      INFO(reply.error.message);
      REQUIRE(reply.error.ok());
    };
    replica_->Propose(std::move(proposal));
  }
  void Put(const std::string& key, const std::string& value) {
    InternalRaftRequest request;
    request.mutable_put()->set_key(key);
    request.mutable_put()->set_value(value);
    Propose(request);
    Settle();
  }
  void Grant(int64_t id, int64_t ttl_seconds) {
    InternalRaftRequest request;
    request.mutable_lease_grant()->set_id(id);
    request.mutable_lease_grant()->set_ttl(ttl_seconds);
    Propose(request);
  }
  void Compact(int64_t revision) {
    InternalRaftRequest request;
    request.mutable_compaction()->set_revision(revision);
    Propose(request);
    Settle();
  }
  etcdserverpb::HashKVResponse HashKv(int64_t revision) {
    auto result = engine_->HashKv(revision);
    if (auto* job = std::get_if<std::unique_ptr<engine::ReadJob>>(&result)) result = (*job)->Run();
    const engine::Reply& reply = std::get<engine::Reply>(result);
    INFO(reply.error.message);
    REQUIRE(reply.error.ok());
    etcdserverpb::HashKVResponse response;
    REQUIRE(response.ParseFromString(reply.body));
    return response;
  }
  void Watch(engine::WatchStreamId stream, int64_t start_revision) {
    hub_->OpenStream(stream);
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key("k");
    request.mutable_create_request()->set_start_revision(start_revision);
    hub_->Request(stream, request);
    Settle();
  }

  engine::Engine& engine() { return *engine_; }
  engine::Lessor& lessor() { return engine_->lessor(); }
  Replica& replica() { return *replica_; }

  int64_t now_ns = 1'000 * kSecondNs;
  std::unique_ptr<RefusingBackend> backend;
  Sink sink;
  bool hold_hashes = false;
  std::vector<std::unique_ptr<engine::CompactionHash>> held_hashes;

 private:
  TempDir folder_;
  Random random_{7};
  std::unique_ptr<Allocator> allocator_ = Must(CreateAllocator("malloc", {}));
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<consensus::Raft> raft_;
  std::unique_ptr<engine::WatchHub> hub_;
  std::unique_ptr<Replica> replica_;
};

TEST_CASE("replica: leases that end together are revoked at a thousand a second") {
  Server server;
  server.Lead();
  for (int64_t id = 1; id <= 3'000; ++id) server.Grant(id, 10);
  server.Settle();
  server.RunFor(10 * kSecondNs - kTickNs);
  CHECK(server.lessor().size() == 3'000);
  // Not sixteen with each tick: what was revoked makes room for the next ones at once.
  server.RunFor(2 * kTickNs);
  CHECK(server.lessor().size() <= 2'500);
  // And not all of them in one stroke, which would hold up everybody else.
  CHECK(server.lessor().size() >= 2'000);
  server.RunFor(3 * kSecondNs);
  CHECK(server.lessor().size() == 0);
}

TEST_CASE("replica: a lease counts from the moment of its grant, not from the last tick") {
  Server server;
  server.Lead();
  server.now_ns += kTickNs - 1;
  server.Grant(7, 5);
  server.Settle();
  CHECK(server.lessor()
            .GetTimeToLive(LeaseId(7), server.now_ns, engine::Lessor::Keys::kLeaveOut)
            .ttl_seconds == 5);
}

TEST_CASE("replica: a new leader gives every lease one election timeout more") {
  Server server;
  server.lessor().Grant(LeaseId(7), 5);  // under an earlier leader
  server.Lead();
  const auto left =
      server.lessor().GetTimeToLive(LeaseId(7), server.now_ns, engine::Lessor::Keys::kLeaveOut);
  CHECK(left.ttl_seconds == 6);  // five and the default election timeout of one second
  CHECK(left.granted_ttl_seconds == 5);
}

TEST_CASE("replica: a task for later runs after a tick though nothing is applied") {
  Server server;
  server.Lead();
  int runs = 0;
  server.replica().RunLater([&](Replica&) { ++runs; });
  server.Settle();
  CHECK(runs == 0);
  server.Tick();
  CHECK(runs == 1);
  server.replica().RunLater([&](Replica&) { ++runs; });
  server.Put("k", "v");
  CHECK(runs == 2);
}

TEST_CASE("replica: a backend without a snapshot to give delays watches and hashes, no more") {
  Server server;
  server.Lead();
  for (int i = 0; i < 5; ++i) server.Put("k", "v");
  server.backend->refuse = true;
  server.Watch(1, 2);
  server.RunFor(5 * kTickNs);
  REQUIRE(server.sink.got.size() == 1);
  CHECK(server.sink.got[0].created());
  auto hash = server.engine().HashKv(0);
  REQUIRE(std::holds_alternative<engine::Reply>(hash));
  CHECK(std::get<engine::Reply>(hash).error.code == 8);
  CHECK(std::get<engine::Reply>(hash).error.message == "no snapshot to give");
  CHECK(std::holds_alternative<engine::Reply>(server.engine().Hash()));
  server.Compact(3);
  CHECK(server.engine().PhysicallyCompacted() <= 3);

  server.backend->refuse = false;
  server.Watch(2, 3);
  server.RunFor(5 * kTickNs);
  int events = 0;
  for (const WatchResponse& response : server.sink.got) events += response.events_size();
  CHECK(events == 4);  // revisions 3 to 6, for the second; the first lost its history meanwhile
  CHECK(server.HashKv(0).hash() != 0);
}

TEST_CASE("replica: HashKV of a compacted revision answers the hash of before the compaction") {
  Server server;
  server.Lead();
  for (const char* key : {"a", "b", "a", "c", "a"}) server.Put(key, "v");
  const etcdserverpb::HashKVResponse before = server.HashKv(4);
  server.Compact(4);
  const etcdserverpb::HashKVResponse kept = server.HashKv(4);
  CHECK(kept.hash() == before.hash());
  CHECK(kept.compact_revision() == -1);
  CHECK(kept.hash_revision() == 4);
  // Of now, it is another one: what was compacted does not count.
  CHECK(server.HashKv(6).compact_revision() == 4);
  CHECK(server.HashKv(6).hash() != before.hash());
}

TEST_CASE("replica: history older than the retention is compacted without anybody asking") {
  ReplicaOptions options;
  options.auto_compaction.retention = 100 * kSecondNs;
  Server server(options);
  server.Lead();
  server.Put("a", "1");
  server.Put("a", "2");
  server.RunFor(101 * kSecondNs);
  CHECK(server.engine().compact_revision() == 1);  // what there was when the clock began
  server.Put("a", "3");
  server.RunFor(101 * kSecondNs);
  CHECK(server.engine().compact_revision() == 3);
}

TEST_CASE("replica: who waits for a physical compaction waits for its hash as well") {
  Server server;
  server.Lead();
  for (int i = 0; i < 5; ++i) server.Put("a", "v");
  server.hold_hashes = true;
  server.Compact(4);
  bool answered = false;
  Completion completion;
  completion.waiter.done = [&](engine::Reply) { answered = true; };
  server.replica().WaitPhysicallyCompacted(4, std::move(completion));
  server.RunFor(20 * kTickNs);
  CHECK(server.engine().PhysicallyCompacted() == 4);
  CHECK_FALSE(answered);
  REQUIRE(server.held_hashes.size() == 1);
  server.held_hashes[0]->Run();
  server.replica().HashDone(std::move(server.held_hashes[0]));
  server.Settle();
  CHECK(answered);
}

}  // namespace
}  // namespace quorate::server
