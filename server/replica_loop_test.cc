// The loops of one member on real threads: many threads put requests in, each in turns of its own,
// so that now they step the replica themselves, now the log writer does, now its own thread.
#include "server/replica_loop.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "backends/log/log_store.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/turn.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"
#include "server/peer_side.h"

namespace quorate::server {
namespace {

template <class T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *std::move(made);
}

class NoPeers final : public PeerSide {
 public:
  void Send(std::vector<consensus::Message>) override {}
  void PrepareSnapshot(MemberId) override {}
  void Install(consensus::InstallRequest) override {}
  void MembersChanged(Replica&) override {}
  void Removed() override {}
};

class NoStreams final : public engine::WatchSink {
 public:
  void Send(engine::WatchStreamId, std::vector<Bytes>) override {}
  bool HasRoom(engine::WatchStreamId) const override { return true; }
};

class Member {
 public:
  explicit Member(size_t step_elsewhere_max) {
    kv::KvOptions kv_options;
    kv_options.dir = folder_.path() + "/kv";
    backend_ = Must(kv::OpenKvBackend("memory", kv_options));
    engine::EngineOptions options;
    options.allocator = allocator_.get();
    engine_ = Must(engine::Engine::Open(options, backend_.get(), [](uint64_t) {}));
    consensus::InitialState initial;
    initial.conf_state.voters = {MemberId(1)};
    consensus::Config config;
    config.self = MemberId(1);
    raft_ = std::make_unique<consensus::Raft>(config, std::move(initial), &random_);
    hub_ = std::make_unique<engine::WatchHub>(engine::WatchHub::Options(),
                                              engine_->mutable_watch_store(), &streams_, 1);
    replica_ = std::make_unique<Replica>(ReplicaOptions(), raft_.get(), engine_.get(), hub_.get());
    log_writer_ = std::make_unique<LogWriter>(
        log_.get(), &clock_,
        LogWriter::Events{[this](LogIndex index, Term term) { loop->Durable(index, term); },
                          [](std::vector<consensus::Message>) {}, [](LogIndex) {}});
    backend_writer_ = std::make_unique<BackendWriter>(
        BackendWriter::Options(), backend_.get(), &clock_,
        BackendWriter::Events{[this](uint64_t sequence) { loop->Flushed(sequence); },
                              [](LogIndex) {}},
        LogIndex(0));
    ReplicaLoop::Options loop_options;
    loop_options.step_elsewhere_max = step_elsewhere_max;
    loop = std::make_unique<ReplicaLoop>(
        loop_options, ReplicaLoop::Parts{replica_.get(), log_.get(), log_writer_.get(),
                                         backend_writer_.get(), workers_.get(), &peers_, &clock_});
    log_writer_->Start();
    backend_writer_->Start();
    loop->Start();
  }
  ~Member() {
    loop->Stop();
    workers_.reset();  // what is under way there tells the loop
    backend_writer_.reset();
    log_writer_.reset();
  }

 private:
  const TempDir folder_;
  const SystemClock clock_;
  Random random_{1};
  NoPeers peers_;
  NoStreams streams_;
  std::unique_ptr<WorkerPool> workers_ = std::make_unique<WorkerPool>(1);
  std::unique_ptr<Allocator> allocator_ = Must(CreateAllocator("malloc", {}));
  std::unique_ptr<kv::KvBackend> backend_;
  std::unique_ptr<log::LogStore> log_ = log::CreateMemoryLog({});
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<consensus::Raft> raft_;
  std::unique_ptr<engine::WatchHub> hub_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<LogWriter> log_writer_;
  std::unique_ptr<BackendWriter> backend_writer_;

 public:
  std::unique_ptr<ReplicaLoop> loop;
};

// What came back, from any thread.
class Answers {
 public:
  void Add(int64_t revision) {
    std::lock_guard lock(mutex_);
    revisions_.push_back(revision);
    changed_.notify_all();
  }
  std::vector<int64_t> Await(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return revisions_.size() >= count; });
    return revisions_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> revisions_;
};

Proposal Put(const std::string& key, Answers* answers) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_put()->set_key(key);
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.waiter.done = [answers](engine::Reply reply) {
    etcdserverpb::PutResponse response;
    const bool good = reply.error.ok() && response.ParseFromString(reply.body);
    answers->Add(good ? response.header().revision() : -1);
  };
  return proposal;
}

Read Look(Answers* answers) {
  Read read;
  read.run = [answers](engine::Engine& engine) { answers->Add(engine.current_revision()); };
  read.fail = [answers](engine::Error) { answers->Add(-1); };
  return read;
}

TEST_CASE("each request of many threads is answered once, whoever steps the replica") {
  const size_t step_elsewhere_max = GENERATE(size_t{0}, size_t{3}, size_t{1000});
  constexpr size_t kThreads = 4, kTurns = 50, kPutsPerTurn = 5;
  Answers puts, reads;
  {
    Member member(step_elsewhere_max);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < kTurns; ++i) {
          const Turn turn;
          for (size_t p = 0; p < kPutsPerTurn; ++p) {
            member.loop->Propose(Put("key" + std::to_string(t), &puts));
          }
          member.loop->ReadState(Look(&reads));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    puts.Await(kThreads * kTurns * kPutsPerTurn);
    reads.Await(kThreads * kTurns);
  }
  std::vector<int64_t> revisions = puts.Await(0);
  std::sort(revisions.begin(), revisions.end());
  REQUIRE(revisions.size() == kThreads * kTurns * kPutsPerTurn);
  for (size_t i = 0; i < revisions.size(); ++i)
    REQUIRE(revisions[i] == static_cast<int64_t>(i) + 2);
  for (const int64_t seen : reads.Await(0)) {
    CHECK(seen >= 1);
    CHECK(seen <= revisions.back());
  }
}

TEST_CASE("a read that begins after an answer sees what was answered") {
  const size_t step_elsewhere_max = GENERATE(size_t{0}, size_t{1000});
  Member member(step_elsewhere_max);
  for (size_t i = 1; i <= 100; ++i) {
    Answers put, read;
    {
      const Turn turn;
      member.loop->Propose(Put("key", &put));
    }
    const int64_t revision = put.Await(1).front();
    REQUIRE(revision == static_cast<int64_t>(i) + 1);
    {
      const Turn turn;
      member.loop->ReadState(Look(&read));
    }
    REQUIRE(read.Await(1).front() == revision);
  }
}

TEST_CASE("outside a turn the replica's own thread is woken") {
  Member member(1000);
  Answers put;
  member.loop->Propose(Put("key", &put));
  CHECK(put.Await(1).front() == 2);
}

}  // namespace
}  // namespace quorate::server
