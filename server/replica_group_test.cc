// Replicas of one group in one process: real engines, logs in memory, messages handed over by the
// test, which can hold them back, lose them, and let a member sleep.

#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "backends/kv/state_stream.h"
#include "backends/log/log_store.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/errors.h"
#include "proto/raftpb.pb.h"
#include "server/replica.h"

namespace quorate::server {
namespace {

using etcdserverpb::InternalRaftRequest;

constexpr int64_t kTickNs = 100'000'000;
constexpr int64_t kSecondNs = 1'000'000'000;

template <class T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *std::move(made);
}

etcdserverpb::Member MemberOf(MemberId id) {
  etcdserverpb::Member member;
  member.set_id(id.value());
  member.add_peerurls(StrCat("http://member", id.value(), ":2380"));
  return member;
}

raftpb::ConfChange ChangeOf(raftpb::ConfChangeType type, MemberId id) {
  raftpb::ConfChange change;
  change.set_type(type);
  change.set_node_id(id.value());
  change.set_context(engine::MemberContextToJson({MemberOf(id), /*promote=*/false}));
  return change;
}

class Sink final : public engine::WatchSink {
 public:
  void Send(engine::WatchStreamId, std::vector<Bytes> pieces) override {
    std::string whole;
    for (const Bytes& piece : pieces) whole += piece.view();
    REQUIRE(got.emplace_back().ParseFromString(whole));
  }
  bool HasRoom(engine::WatchStreamId) const override { return true; }
  std::vector<etcdserverpb::WatchResponse> got;
};

// The answer of one request, when there is one.
using Answer = std::shared_ptr<std::optional<engine::Reply>>;
Answer NoAnswer() { return std::make_shared<std::optional<engine::Reply>>(); }

// One member with its disk.
class Member {
 public:
  // `bootstrap`: the members that the log begins with; empty for one that joins.
  Member(MemberId id, const std::vector<MemberId>& bootstrap, ReplicaOptions options = {})
      : id_(id), random_(id.value()), log_(log::CreateMemoryLog({id, ClusterId(7)})) {
    std::vector<Entry> entries;
    for (const MemberId member : bootstrap) {
      Entry entry{Term(1), LogIndex(entries.size() + 1), EntryType::kConfChange, {}};
      entry.data =
          Bytes::FromString(ChangeOf(raftpb::ConfChangeAddNode, member).SerializeAsString());
      entries.push_back(std::move(entry));
    }
    if (!entries.empty()) {
      const HardState state{Term(1), MemberId(0), LogIndex(entries.size())};
      REQUIRE(log_->Append(entries, &state).ok());
      REQUIRE(log_->Sync().ok());
    }
    OpenBackend();
    engine_ = OpenEngine();
    engine_->SetHeader({ClusterId(7), id_, Term(1)});
    consensus::InitialState initial;
    initial.hard_state = log_->hard_state();
    initial.entries = std::move(entries);
    initial.last_index = log_->last_index();
    consensus::Config config;
    config.self = id;
    config.tail_bytes_max = 0;  // laggards need the log store, or a snapshot
    raft_ = std::make_unique<consensus::Raft>(config, std::move(initial), &random_);
    hub_ = std::make_unique<engine::WatchHub>(engine::WatchHub::Options(),
                                              engine_->mutable_watch_store(), &sink_, 1);
    options.first_read_context = id.value() << 32;
    replica_ = std::make_unique<Replica>(options, raft_.get(), engine_.get(), hub_.get());
  }

  MemberId id() const { return id_; }
  Replica& replica() { return *replica_; }
  engine::Engine& engine() { return replica_->engine(); }
  log::LogStore& log() { return *log_; }
  Sink& sink() { return sink_; }
  bool removed() const { return removed_; }
  uint64_t snapshots_installed() const { return snapshots_installed_; }
  bool leads() const { return raft_->leader_ready(); }

  // One step, with its disk answering at once. Messages go to *out. False = nothing was left to do.
  bool Step(int64_t now_ns, std::deque<consensus::Message>* out) {
    replica_->CompactSlice();
    Effects effects = replica_->Advance(now_ns);
    bool any = effects.more || !effects.messages.empty();
    for (auto& message : effects.messages) out->push_back(std::move(message));
    if (!effects.append.empty() || effects.hard_state) {
      const HardState* state = effects.hard_state ? &*effects.hard_state : nullptr;
      REQUIRE(log_->Append(effects.append, state).ok());
      REQUIRE(log_->Sync().ok());
      any = true;
    }
    for (auto& message : effects.messages_after_durable) out->push_back(std::move(message));
    if (!effects.append.empty()) {
      replica_->Durable(effects.append.back().index, effects.append.back().term, now_ns);
    }
    for (const auto& chunk : effects.chunks) {
      REQUIRE(backend_->Write(chunk->ops()).ok());
      replica_->Flushed(chunk->sequence());
      any = true;
    }
    for (CatchUpWork& work : effects.catch_up) {
      work.job->Run(*work.history);
      replica_->CatchUpDone(std::move(work.job));
      any = true;
    }
    CarryOutForPeers(&effects);
    removed_ |= effects.removed;
    for (Completion& completion : effects.completions) {
      if (completion.waiter.done) completion.waiter.done(std::move(completion.reply));
    }
    return any;
  }

  // What goes beside the kSnapshot message to `peer`.
  const std::string& PreparedFor(MemberId peer) const { return prepared_.at(peer); }
  std::optional<consensus::InstallRequest> TakeInstall() {
    return std::exchange(install_, std::nullopt);
  }
  void Install(const consensus::SnapshotMeta& meta, const std::string& state) {
    ++snapshots_installed_;
    old_.push_back({std::move(backend_), std::move(engine_)});
    OpenBackend();
    kv::StateImporter importer(backend_.get());
    REQUIRE(importer.Take(state).ok());
    REQUIRE(importer.Finish().ok());
    engine_ = OpenEngine();
    REQUIRE(log_->Reset(meta.index, meta.term, nullptr).ok());
    replica_->SnapshotInstalled(meta, engine_.get());
  }

  void DropLog(LogIndex through) {
    REQUIRE(log_->TruncatePrefix(through).ok());
    replica_->LogCompacted(log_->first_index().Prev());
  }

 private:
  void OpenBackend() {
    kv::KvOptions options;
    options.dir = StrCat(folder_.path(), "/kv", snapshots_installed_);
    options.map_bytes_max = uint64_t{1} << 30;
    backend_ = Must(kv::OpenKvBackend("lmdb", options));
  }
  std::unique_ptr<engine::Engine> OpenEngine() {
    engine::EngineOptions options;
    options.allocator = allocator_.get();
    return Must(engine::Engine::Open(options, backend_.get(), [](uint64_t) {}));
  }

  void CarryOutForPeers(Effects* effects) {
    for (const consensus::LogReadRequest& request : effects->log_reads) {
      consensus::LogReadAnswer answer{.id = request.id};
      const absl::Status read = log_->Read(request.first, request.last, [&](const Entry& entry) {
        answer.entries.push_back(entry);
        return true;
      });
      if (read.ok()) answer.term_before = log_->TermAt(request.first.Prev());
      replica_->LogRead(std::move(answer));
    }
    for (const MemberId peer : effects->snapshots_wanted) {
      // This step's chunks are in the backend by now.
      consensus::SnapshotMeta meta{engine().applied_index(), {}, raft_->conf_state()};
      meta.term = log_->TermAt(meta.index).value();
      kv::StateExporter exporter(Must(backend_->NewSnapshot()));
      std::string& state = prepared_[peer];
      state.clear();
      for (std::string_view piece = Must(exporter.Read(1 << 20)); !piece.empty();
           piece = Must(exporter.Read(1 << 20))) {
        state += piece;
      }
      replica_->SnapshotReady(peer, meta);
    }
    if (effects->install) install_ = *effects->install;
  }

  const MemberId id_;
  TempDir folder_;
  Random random_;
  std::unique_ptr<Allocator> allocator_ = *CreateAllocator("malloc", {});
  std::unique_ptr<log::LogStore> log_;
  std::unique_ptr<kv::KvBackend> backend_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<consensus::Raft> raft_;
  Sink sink_;
  std::unique_ptr<engine::WatchHub> hub_;
  std::unique_ptr<Replica> replica_;
  struct Old {
    std::unique_ptr<kv::KvBackend> backend;
    std::unique_ptr<engine::Engine> engine;
  };
  std::vector<Old> old_;  // jobs may still read from them
  std::map<MemberId, std::string> prepared_;
  std::optional<consensus::InstallRequest> install_;
  uint64_t snapshots_installed_ = 0;
  bool removed_ = false;
};

class Group {
 public:
  explicit Group(uint64_t members, const ReplicaOptions& options = {}) {
    std::vector<MemberId> ids;
    for (uint64_t id = 1; id <= members; ++id) ids.push_back(MemberId(id));
    for (const MemberId id : ids) members_[id] = std::make_unique<Member>(id, ids, options);
  }

  Member& at(uint64_t id) { return *members_.at(MemberId(id)); }
  Member& Join(uint64_t id) {
    members_[MemberId(id)] = std::make_unique<Member>(MemberId(id), std::vector<MemberId>());
    return at(id);
  }
  int64_t now_ns() const { return now_ns_; }

  // Cut off: sends and hears nothing. Asleep: does not run at all.
  void Cut(uint64_t id) { cut_.insert(MemberId(id)); }
  void Mend(uint64_t id) { cut_.erase(MemberId(id)); }

  // Until nobody has anything to do at this moment.
  void Settle() {
    for (bool any = true; any;) {
      any = false;
      for (auto& [id, member] : members_) {
        std::deque<consensus::Message> sent;
        while (member->Step(now_ns_, &sent)) any = true;
        if (const auto install = member->TakeInstall()) {
          member->Install(install->meta, members_.at(install->from)->PreparedFor(id));
          any = true;
        }
        if (cut_.contains(id)) continue;
        for (auto& message : sent) {
          const auto to = members_.find(message.to);
          if (to == members_.end() || cut_.contains(message.to)) continue;
          to->second->replica().Receive(std::move(message));
          any = true;
        }
      }
    }
  }
  void Tick() {
    now_ns_ += kTickNs;
    for (auto& [id, member] : members_) member->replica().Tick(now_ns_);
    Settle();
  }
  // Ticks until `done`; fails the test when that takes more than five minutes of its time.
  void RunUntil(const std::function<bool()>& done) {
    for (int ticks = 0; !done(); ++ticks) {
      REQUIRE(ticks < 3000);
      Tick();
    }
  }
  Member& Leader() {
    Member* leader = nullptr;
    RunUntil([&] {
      leader = nullptr;
      for (auto& [id, member] : members_) {
        if (member->leads() && !cut_.contains(id)) leader = member.get();
      }
      return leader != nullptr;
    });
    return *leader;
  }
  Member& Follower() {
    const MemberId leader = Leader().id();
    for (auto& [id, member] : members_) {
      if (id != leader && !cut_.contains(id)) return *member;
    }
    FAIL("no follower");
    return at(0);
  }

  Answer Propose(Member& member, const InternalRaftRequest& request) {
    InternalRaftRequest with_id = request;
    with_id.mutable_header()->set_id(++next_id_);
    Proposal proposal;
    proposal.payload = Bytes::FromString(with_id.SerializeAsString());
    return Give(member, std::move(proposal));
  }
  Answer Put(Member& member, const std::string& key, const std::string& value) {
    InternalRaftRequest request;
    request.mutable_put()->set_key(key);
    request.mutable_put()->set_value(value);
    return Propose(member, request);
  }
  Answer Change(Member& member, raftpb::ConfChange change) {
    change.set_id(++next_id_);
    Proposal proposal;
    proposal.type = EntryType::kConfChange;
    proposal.payload = Bytes::FromString(change.SerializeAsString());
    return Give(member, std::move(proposal));
  }
  engine::Error Await(const Answer& answer) {
    RunUntil([&] { return answer->has_value(); });
    return (*answer)->error;
  }

  // What a linearizable read of `key` says at `member`; nullopt while there is no answer.
  std::shared_ptr<std::optional<std::string>> Get(Member& member, const std::string& key) {
    auto answer = std::make_shared<std::optional<std::string>>();
    Read read;
    read.deadline_ns = now_ns_ + 7 * kSecondNs;
    read.run = [answer, key](engine::Engine& engine) { *answer = ValueAt(engine, key); };
    read.fail = [answer](engine::Error error) { *answer = StrCat("error: ", error.message); };
    member.replica().ReadState(std::move(read));
    return answer;
  }
  static std::string ValueAt(engine::Engine& engine, const std::string& key) {
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    etcdserverpb::RangeResponse response;
    response.ParseFromString(std::get<engine::Reply>(engine.Range(request)).body);
    return response.kvs_size() == 0 ? "(none)" : response.kvs(0).value();
  }

 private:
  Answer Give(Member& member, Proposal proposal) {
    Answer answer = NoAnswer();
    proposal.id = RequestId(next_id_);
    proposal.waiter.deadline_ns = now_ns_ + 7 * kSecondNs;
    proposal.waiter.done = [answer](engine::Reply reply) { *answer = std::move(reply); };
    member.replica().Propose(std::move(proposal));
    return answer;
  }

  int64_t now_ns_ = kSecondNs;
  uint64_t next_id_ = 0;
  std::map<MemberId, std::unique_ptr<Member>> members_;
  std::set<MemberId> cut_;
};

TEST_CASE("three members elect one and agree on what is put") {
  Group group(3);
  Member& leader = group.Leader();
  const Answer answer = group.Put(leader, "k", "v");
  REQUIRE(group.Await(answer).ok());
  group.RunUntil([&] {
    for (uint64_t id = 1; id <= 3; ++id) {
      if (Group::ValueAt(group.at(id).engine(), "k") != "v") return false;
    }
    return true;
  });
  for (uint64_t id = 1; id <= 3; ++id) {
    CHECK(group.at(id).engine().members().size() == 3);
    CHECK(group.at(id).replica().raft().leader() == leader.id());
  }
}

TEST_CASE("a leader that is cut off answers what it had ordered alone, and follows again") {
  Group group(3);
  Member& old = group.Leader();
  group.Cut(old.id().value());
  const Answer lost = group.Put(old, "k", "lost");
  Member& next = group.Leader();
  REQUIRE(&next != &old);
  REQUIRE(group.Await(group.Put(next, "k", "kept")).ok());
  group.Mend(old.id().value());
  const engine::Error error = group.Await(lost);
  CHECK_FALSE(error.ok());
  CHECK(error.code == 14);
  group.RunUntil([&] { return Group::ValueAt(old.engine(), "k") == "kept"; });
  CHECK(old.replica().raft().leader() == next.id());
}

TEST_CASE("a follower hands what it is asked to the leader and answers it") {
  Group group(3);
  Member& follower = group.Follower();
  CHECK(group.Await(group.Put(follower, "k", "v")).ok());
  InternalRaftRequest refused;
  refused.mutable_put()->set_key("k");
  refused.mutable_put()->set_lease(77);
  CHECK(group.Await(group.Propose(follower, refused)).message ==
        engine::errors::kLeaseNotFound.message);
  const auto read = group.Get(follower, "k");
  group.RunUntil([&] { return read->has_value(); });
  CHECK(**read == "v");
}

TEST_CASE("a follower's linearizable read sees what was acknowledged elsewhere, or fails") {
  Group group(3);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  group.Cut(follower.id().value());
  REQUIRE(group.Await(group.Put(leader, "k", "new")).ok());
  const auto cut_off = group.Get(follower, "k");
  group.RunUntil([&] { return cut_off->has_value(); });
  CHECK(**cut_off == "error: etcdserver: request timed out");
  const auto later = group.Get(follower, "k");
  group.Mend(follower.id().value());
  group.RunUntil([&] { return later->has_value(); });
  CHECK(**later == "new");
}

TEST_CASE("a proposal sent to a leader that dies is answered in time with etcd's error") {
  Group group(3);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  group.Cut(leader.id().value());
  const Answer answer = group.Put(follower, "k", "v");
  const engine::Error error = group.Await(answer);
  CHECK(error.message == engine::errors::kTimeoutDueToLeaderFail.message);
  CHECK(follower.replica().pending_proposals() == 0);
}

TEST_CASE("without a leader a proposal waits for one, and its time limit ends that") {
  Group group(3);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  for (uint64_t id = 1; id <= 3; ++id) group.Cut(id);
  group.RunUntil([&] { return follower.replica().raft().leader() == MemberId(0); });
  CHECK(follower.replica().leaderless_since_ns() <= group.now_ns());
  CHECK(group.Await(group.Put(follower, "k", "v")).message ==
        engine::errors::kContextDeadlineExceeded.message);
  const Answer waits = group.Put(follower, "k", "w");
  for (uint64_t id = 1; id <= 3; ++id) group.Mend(id);
  CHECK(group.Await(waits).ok());
  CHECK(leader.replica().pending_proposals() == 0);
}

TEST_CASE("only the leader lets a lease expire; a new one gives it its time again") {
  Group group(3);
  Member& old = group.Leader();
  InternalRaftRequest grant;
  grant.mutable_lease_grant()->set_id(5);
  grant.mutable_lease_grant()->set_ttl(10);
  REQUIRE(group.Await(group.Propose(old, grant)).ok());
  group.RunUntil([&] {
    return old.engine()
               .lessor()
               .GetTimeToLive(LeaseId(5), group.now_ns(), engine::Lessor::Keys::kLeaveOut)
               .ttl_seconds <= 5;
  });
  // Nobody hears the old leader any more; by its clock the lease ends soon, by nobody else's.
  group.Cut(old.id().value());
  Member& next = group.Leader();
  const int64_t promoted_ns = group.now_ns();
  group.Mend(old.id().value());
  const auto gone = [&](Member& member) { return !member.engine().lessor().Exists(LeaseId(5)); };
  group.RunUntil([&] { return gone(next); });
  CHECK(group.now_ns() - promoted_ns >= 10 * kSecondNs);
  group.RunUntil([&] { return gone(old); });
}

TEST_CASE("with checkpoints a new leader gives a lease only what was left of its time") {
  ReplicaOptions options;
  options.lease_checkpoint_interval_ns = 5 * kSecondNs;
  Group group(3, options);
  Member& old = group.Leader();
  InternalRaftRequest grant;
  grant.mutable_lease_grant()->set_id(5);
  grant.mutable_lease_grant()->set_ttl(100);
  REQUIRE(group.Await(group.Propose(old, grant)).ok());
  const int64_t granted_ns = group.now_ns();
  group.RunUntil([&] { return group.now_ns() - granted_ns >= 60 * kSecondNs; });
  group.Cut(old.id().value());
  Member& next = group.Leader();
  group.RunUntil([&] { return !next.engine().lessor().Exists(LeaseId(5)); });
  // Never early; late by an interval, the change of leaders and what a new leader gives away.
  CHECK(group.now_ns() - granted_ns >= 100 * kSecondNs);
  CHECK(group.now_ns() - granted_ns < 120 * kSecondNs);
}

TEST_CASE("members join as learners, are promoted and removed, one change after the other") {
  Group group(3);
  Member& leader = group.Leader();
  // Two at once: the second waits for the first.
  const Answer first =
      group.Change(leader, ChangeOf(raftpb::ConfChangeAddLearnerNode, MemberId(4)));
  const Answer second = group.Change(leader, ChangeOf(raftpb::ConfChangeAddNode, MemberId(4)));
  CHECK(group.Await(first).ok());
  CHECK(group.Await(second).message == engine::errors::kMemberExist.message);
  CHECK(leader.replica().raft().conf_state().learners == std::vector{MemberId(4)});
  Member& joined = group.Join(4);
  group.RunUntil([&] { return joined.engine().members().size() == 4; });

  raftpb::ConfChange promote = ChangeOf(raftpb::ConfChangeAddNode, MemberId(4));
  promote.set_context(engine::MemberContextToJson({MemberOf(MemberId(4)), /*promote=*/true}));
  CHECK(group.Await(group.Change(group.Follower(), promote)).ok());
  CHECK(leader.replica().raft().conf_state().voters.size() == 4);

  CHECK(
      group.Await(group.Change(leader, ChangeOf(raftpb::ConfChangeRemoveNode, leader.id()))).ok());
  CHECK(leader.removed());
  group.Cut(leader.id().value());
  Member& next = group.Leader();
  CHECK(group.Await(group.Put(next, "k", "v")).ok());
  CHECK(next.engine().WasRemoved(leader.id()));
  CHECK(next.replica().raft().conf_state().voters.size() == 3);
}

TEST_CASE("the lead is handed over on request") {
  Group group(3);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  CHECK(leader.replica().TransferLeadership(MemberId(99)).message ==
        engine::errors::kBadLeaderTransferee.message);
  REQUIRE(leader.replica().TransferLeadership(follower.id()).ok());
  const Answer meanwhile = group.Put(leader, "k", "v");
  group.RunUntil([&] { return follower.leads(); });
  CHECK(group.Await(meanwhile).ok());
}

TEST_CASE("a follower behind the log gets a snapshot, and its watches miss nothing") {
  Group group(3);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  REQUIRE(group.Await(group.Put(leader, "w0", "v")).ok());
  group.RunUntil([&] { return Group::ValueAt(follower.engine(), "w0") == "v"; });
  follower.replica().hub().OpenStream(1);
  etcdserverpb::WatchRequest watch;
  watch.mutable_create_request()->set_key("w");
  watch.mutable_create_request()->set_range_end("x");
  follower.replica().hub().Request(1, watch);

  group.Cut(follower.id().value());
  for (int i = 1; i <= 20; ++i) {
    REQUIRE(group.Await(group.Put(leader, StrCat("w", i), "v")).ok());
  }
  leader.DropLog(leader.engine().applied_index().Prev());
  REQUIRE(leader.log().first_index() > LogIndex(20));
  group.Mend(follower.id().value());
  group.RunUntil([&] { return follower.snapshots_installed() == 1; });
  REQUIRE(group.Await(group.Put(follower, "w21", "v")).ok());
  group.RunUntil([&] { return Group::ValueAt(follower.engine(), "w21") == "v"; });
  std::vector<std::string> seen;
  for (const auto& response : follower.sink().got) {
    CHECK_FALSE(response.canceled());
    for (const auto& event : response.events()) seen.push_back(event.kv().key());
  }
  std::vector<std::string> wanted;
  for (int i = 1; i <= 21; ++i) wanted.push_back(StrCat("w", i));
  CHECK(seen == wanted);
}

TEST_CASE("writes that come together share a round, those of other members as well") {
  ReplicaOptions options;
  options.batch_pace_ns = kTickNs / 2;
  Group group(3, options);
  Member& leader = group.Leader();
  Member& follower = group.Follower();
  REQUIRE(group.Await(group.Put(leader, "before", "1")).ok());
  for (uint64_t id = 1; id <= 3; ++id) {
    if (MemberId(id) != leader.id()) group.Cut(id);
  }
  group.Tick();
  const LogIndex before = leader.replica().raft().last_index();
  const Answer first = group.Put(leader, "a", "1");
  group.Settle();
  CHECK(leader.replica().raft().last_index() == before.Next());

  // The first is on its way: the next two leave together, at their time.
  const Answer second = group.Put(leader, "b", "2");
  InternalRaftRequest forwarded;
  forwarded.mutable_header()->set_id(77);
  forwarded.mutable_put()->set_key("c");
  forwarded.mutable_put()->set_value("3");
  consensus::Message message;
  message.type = consensus::MessageType::kPropose;
  message.from = follower.id();
  message.to = leader.id();
  message.entries.push_back(
      {Term(0), LogIndex(0), EntryType::kNormal, Bytes::FromString(forwarded.SerializeAsString())});
  group.Settle();
  leader.replica().Receive(std::move(message));
  group.Settle();
  CHECK(leader.replica().raft().last_index() == before.Next());
  group.Tick();
  CHECK(leader.replica().raft().last_index() == LogIndex(before.value() + 3));

  for (uint64_t id = 1; id <= 3; ++id) group.Mend(id);
  CHECK(group.Await(second).ok());
  CHECK(group.Await(first).ok());
  const auto read = group.Get(leader, "c");
  group.RunUntil([&] { return read->has_value(); });
  CHECK(**read == "3");
}

}  // namespace
}  // namespace quorate::server
