// EngineImpl: the Engine over store, lessor and small tables. open.cc, apply.cc, apply_auth.cc,
// apply_lease.cc and reads.cc hold its parts.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/auth/auth_store.h"
#include "engine/auth/request_checks.h"
#include "engine/auth/simple_tokens.h"
#include "engine/cluster/membership.h"
#include "engine/engine.h"
#include "engine/maintenance/alarms.h"
#include "engine/mvcc/hash.h"
#include "engine/mvcc/store.h"
#include "engine/mvcc/txn.h"

namespace quorate::engine {

class EngineImpl final : public Engine, public WatchStore {
 public:
  EngineImpl(const EngineOptions& options, const kv::KvBackend* backend);
  absl::Status Restore(absl::FunctionRef<void(uint64_t)> progress);

  Reply Apply(const Entry& entry, Answer answer) override;
  LogIndex applied_index() const override { return applied_; }
  std::vector<EventBatchPtr> TakeEvents() override { return std::exchange(events_, {}); }

  void SetHeader(const HeaderFields& header) override { header_ = header; }
  const HeaderFields& header() const override { return header_; }

  std::variant<Reply, std::unique_ptr<RangeCursor>> Range(
      const etcdserverpb::RangeRequest& request) override;
  std::variant<Reply, std::unique_ptr<RangeStreamCursor>> RangeStream(
      const etcdserverpb::RangeRequest& request) override;
  Reply ReadTxn(const etcdserverpb::TxnRequest& request) override;
  std::variant<Reply, std::unique_ptr<ReadJob>> HashKv(int64_t revision) override;
  std::variant<Reply, std::unique_ptr<ReadJob>> Hash() override;
  absl::StatusOr<std::unique_ptr<HistoryReader>> NewHistoryReader() override {
    return store_.NewHistoryReader();
  }
  const WatchStore& watch_store() const override { return *this; }
  WatchStore* mutable_watch_store() override { return this; }

  bool CompactionPending() const override { return store_.CompactionPending(); }
  bool CompactSlice(uint32_t steps) override { return store_.CompactSlice(steps); }
  std::unique_ptr<CompactionHash> TakeCompactionHash() override;
  void KeepCompactionHash(std::unique_ptr<CompactionHash> done) override;
  std::vector<KeptHash> compaction_hashes() const override;
  int64_t PhysicallyCompacted() const override { return store_.PhysicallyCompacted(); }

  std::vector<std::shared_ptr<const FlushChunk>> TakeSealed(Seal seal) override {
    return store_.window().TakeSealed(seal);
  }
  void Flushed(uint64_t sequence) override { store_.Flushed(sequence); }
  uint64_t WindowBytes() const override { return store_.window().bytes(); }
  bool WindowFull() const override { return WindowBytes() >= options_.window_bytes_max; }

  Lessor& lessor() override { return lessor_; }
  const AuthStore& auth() const override { return auth_; }
  SimpleTokens& simple_tokens() override { return tokens_; }
  int64_t current_revision() const override { return store_.current_revision(); }
  int64_t compact_revision() const override { return store_.compact_revision(); }
  uint64_t live_keys() const override { return store_.index().Total().keys; }
  std::vector<etcdserverpb::AlarmMember> alarms() const override { return alarms_.List(); }
  bool HasAlarm(etcdserverpb::AlarmType type) const override { return alarms_.Has(type); }
  std::vector<etcdserverpb::Member> members() const override { return membership_.members(); }
  bool WasRemoved(MemberId member) const override {
    return membership_.removed().contains(member.value());
  }
  std::vector<MemberId> removed_members() const override {
    std::vector<MemberId> removed;
    for (const uint64_t id : membership_.removed()) removed.push_back(MemberId(id));
    return removed;
  }
  std::string cluster_version() const override { return membership_.version(); }
  DowngradeInfo downgrade() const override { return membership_.downgrade(); }
  const Counters& counters() const override;
  bool HasReaders() const override { return store_.pinned(); }

  // --- WatchStore
  int64_t CurrentRevision() const override { return store_.current_revision(); }
  int64_t CompactRevision() const override { return store_.compact_revision(); }
  HeaderFields Header() const override { return header_; }
  const RecordReader& Records() const override { return store_; }
  std::optional<RecordRef> LiveBefore(std::string_view key, int64_t before_main) const override;

  // For Invariants and tests.
  const MvccStore& store() const { return store_; }
  const Lessor& leases() const { return lessor_; }

 private:
  using Request = etcdserverpb::InternalRaftRequest;

  Reply ApplyData(const Entry& entry, Answer answer);
  Reply ApplyRequest(const Request& request, Answer answer);
  Error AlarmGate(const Request& request) const;
  // nullopt: not an entry of the Auth service.
  std::optional<Reply> ApplyAuth(const Request& request);
  Reply ApplyAuthenticate(const etcdserverpb::InternalAuthenticateRequest& request);
  Reply ApplyAuthRead(const Request& request);
  Reply ApplyUserChange(const Request& request);
  Reply ApplyRoleChange(const Request& request);
  Reply AnswerOf(const Error& error) const;
  Reply ApplyPut(PutArguments put, Answer answer);
  Reply ApplyDelete(const etcdserverpb::DeleteRangeRequest& request);
  Reply ApplyTxn(const etcdserverpb::TxnRequest& request);
  Reply ApplyCompaction(const etcdserverpb::CompactionRequest& request);
  Reply ApplyAlarm(const etcdserverpb::AlarmRequest& request);
  Reply ApplyLeaseGrant(const etcdserverpb::LeaseGrantRequest& request);
  Reply ApplyLeaseRevoke(const etcdserverpb::LeaseRevokeRequest& request);
  Reply ApplyLeaseCheckpoint(const etcdserverpb::LeaseCheckpointRequest& request);
  void WriteLease(const LeaseRecord& lease);
  void Publish(EventBatchPtr batch);
  // A body that begins with the header at the present revision.
  std::string Body() const;
  absl::Status RestoreApplied(const kv::KvSnapshot& snapshot);
  absl::Status RestoreLeases(const kv::KvSnapshot& snapshot);

  const EngineOptions options_;
  Lessor lessor_;
  MvccStore store_;
  Alarms alarms_;
  Membership membership_;
  AuthStore auth_;
  SimpleTokens tokens_;
  KeptHashes kept_hashes_;
  HeaderFields header_;
  LogIndex applied_;
  std::vector<EventBatchPtr> events_;
  Request request_;  // reused: parsing an entry allocates little
  mutable Counters counters_;
};

}  // namespace quorate::engine
