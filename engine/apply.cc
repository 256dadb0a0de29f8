// Applying committed entries. Every check is made before the first change.

#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/engine_impl.h"
#include "engine/mvcc/wire.h"
#include "proto/leasepb.pb.h"

namespace quorate::engine {
namespace {

std::string LeaseKey(LeaseId id) {
  std::string key(8, '\0');
  const uint64_t bits = static_cast<uint64_t>(id.value());
  for (int i = 0; i < 8; ++i) key[i] = static_cast<char>(bits >> (56 - 8 * i));
  return key;
}

bool Writes(const etcdserverpb::TxnRequest& request) {
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const etcdserverpb::RequestOp& op : *branch) {
      if (op.has_request_put() || op.has_request_delete_range()) return true;
      if (op.has_request_txn() && Writes(op.request_txn())) return true;
    }
  }
  return false;
}

}  // namespace

std::string EngineImpl::HeaderBytes(int64_t revision) const {
  std::string out;
  wire::AppendHeader(&out, header_, revision);
  return out;
}

void EngineImpl::Publish(EventBatchPtr batch) {
  if (batch == nullptr) return;
  counters_.events += batch->events.size();
  events_.push_back(std::move(batch));
}

Reply EngineImpl::Apply(const Entry& entry, Answer answer) {
  QR_CHECK(entry.index == applied_.Next());
  applied_ = entry.index;
  header_.term = std::max(header_.term, entry.term);
  Reply reply;
  if (entry.type == EntryType::kNormal && !entry.data.empty()) {
    if (request_.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size()))) {
      reply = ApplyRequest(request_);
    } else {
      reply.error = {15, StrCat("log entry ", entry.index.value(), " cannot be read")};
    }
  }
  store_.window().EndEntry(entry.index, entry.term);
  if (answer == Answer::kNotWanted) return {};
  return reply;
}

Error EngineImpl::AlarmGate(const Request& request) const {
  if (alarms_.empty()) return {};
  const bool takes_space = QuotaCost(request) > 0;
  if (HasAlarm(etcdserverpb::CORRUPT)) {
    const bool writes = takes_space || request.has_delete_range() || request.has_compaction() ||
                        request.has_lease_revoke() || (request.has_txn() && Writes(request.txn()));
    if (writes) return errors::kCorrupt;
  }
  if (takes_space && HasAlarm(etcdserverpb::NOSPACE)) return errors::kNoSpace;
  return {};
}

Reply EngineImpl::ApplyRequest(const Request& request) {
  if (Error error = AlarmGate(request); !error.ok()) return {error, {}};
  if (request.has_put()) return ApplyPut(request.put());
  if (request.has_txn()) return ApplyTxn(request.txn());
  if (request.has_delete_range()) return ApplyDelete(request.delete_range());
  if (request.has_compaction()) return ApplyCompaction(request.compaction());
  if (request.has_lease_grant()) return ApplyLeaseGrant(request.lease_grant());
  if (request.has_lease_revoke()) return ApplyLeaseRevoke(request.lease_revoke());
  if (request.has_lease_checkpoint()) return ApplyLeaseCheckpoint(request.lease_checkpoint());
  if (request.has_alarm()) return ApplyAlarm(request.alarm());
  if (request.has_cluster_member_attr_set()) {
    return ApplyMemberAttributes(request.cluster_member_attr_set());
  }
  if (request.has_cluster_version_set()) return ApplyClusterVersion(request.cluster_version_set());
  return {{12, "etcdserver: this request is not supported in this version"}, {}};
}

Reply EngineImpl::ApplyPut(const etcdserverpb::PutRequest& request) {
  TxnRunner runner(&store_, &lessor_);
  if (Error error = runner.CheckPut(request); !error.ok()) return {error, {}};
  std::string fields;
  store_.Begin();
  runner.RunPut(request, &fields);
  Publish(store_.End());
  ++counters_.puts;
  return {{}, HeaderBytes(store_.current_revision()) + fields};
}

Reply EngineImpl::ApplyDelete(const etcdserverpb::DeleteRangeRequest& request) {
  TxnRunner runner(&store_, &lessor_);
  std::string fields;
  store_.Begin();
  runner.RunDelete(request, &fields);
  Publish(store_.End());
  ++counters_.deletes;
  return {{}, HeaderBytes(store_.current_revision()) + fields};
}

Reply EngineImpl::ApplyTxn(const etcdserverpb::TxnRequest& request) {
  TxnRunner runner(&store_, &lessor_);
  runner.Decide(request);
  if (Error error = runner.Check(request); !error.ok()) return {error, {}};
  std::string fields;
  store_.Begin();
  runner.Run(request, &fields);
  Publish(store_.End());
  ++counters_.txns;
  return {{}, HeaderBytes(store_.current_revision()) + fields};
}

Reply EngineImpl::ApplyCompaction(const etcdserverpb::CompactionRequest& request) {
  if (request.revision() <= store_.compact_revision() || request.revision() < 0) {
    return {errors::kCompacted, {}};
  }
  if (request.revision() > store_.current_revision()) return {errors::kFutureRev, {}};
  store_.ScheduleCompaction(request.revision());
  return {{}, HeaderBytes(store_.current_revision())};
}

// --- leases

void EngineImpl::WriteLease(const LeaseRecord& lease) {
  leasepb::Lease stored;
  stored.set_id(lease.id.value());
  stored.set_ttl(lease.ttl_seconds);
  stored.set_remainingttl(lease.remaining_ttl_seconds);
  store_.window().Put(kv::Table::kLease, LeaseKey(lease.id), stored.SerializeAsString());
}

Reply EngineImpl::ApplyLeaseGrant(const etcdserverpb::LeaseGrantRequest& request) {
  const LeaseId id(request.id());
  if (id.value() == 0) return {errors::kLeaseNotFound, {}};
  if (Error error = lessor_.CheckGrant(id, request.ttl()); !error.ok()) return {error, {}};
  const LeaseRecord lease = lessor_.Grant(id, request.ttl());
  WriteLease(lease);
  std::string body = HeaderBytes(store_.current_revision());
  wire::AppendInt(&body, 2, lease.id.value());
  wire::AppendInt(&body, 3, lease.ttl_seconds);
  return {{}, std::move(body)};
}

Reply EngineImpl::ApplyLeaseRevoke(const etcdserverpb::LeaseRevokeRequest& request) {
  const LeaseId id(request.id());
  if (!lessor_.Exists(id)) return {errors::kLeaseNotFound, {}};
  const std::vector<std::string> keys = lessor_.Revoke(id);
  store_.window().Delete(kv::Table::kLease, LeaseKey(id));
  store_.Begin();
  for (const std::string& key : keys) store_.DeleteRange(KeyInterval::Of(key, {}));
  Publish(store_.End());
  return {{}, HeaderBytes(store_.current_revision())};
}

Reply EngineImpl::ApplyLeaseCheckpoint(const etcdserverpb::LeaseCheckpointRequest& request) {
  for (const etcdserverpb::LeaseCheckpoint& point : request.checkpoints()) {
    const LeaseId id(point.id());
    if (!lessor_.Exists(id)) continue;
    lessor_.Checkpoint(id, point.remaining_ttl());
    const Lessor::TimeToLive lease = lessor_.GetTimeToLive(id, 0, Lessor::Keys::kLeaveOut);
    WriteLease({id, lease.granted_ttl_seconds, point.remaining_ttl()});
  }
  return {{}, HeaderBytes(store_.current_revision())};
}

// --- alarms and members

Reply EngineImpl::ApplyAlarm(const etcdserverpb::AlarmRequest& request) {
  using etcdserverpb::AlarmRequest;
  etcdserverpb::AlarmMember alarm;
  alarm.set_memberid(request.memberid());
  alarm.set_alarm(request.alarm());
  const std::pair<uint64_t, int> key(request.memberid(), request.alarm());
  etcdserverpb::AlarmResponse response;
  switch (request.action()) {
    case AlarmRequest::GET:
      for (const auto& [place, active] : alarms_) {
        if (request.alarm() == etcdserverpb::NONE || request.alarm() == active.alarm()) {
          *response.add_alarms() = active;
        }
      }
      break;
    case AlarmRequest::ACTIVATE:
      if (request.alarm() == etcdserverpb::NONE) break;
      if (!alarms_.contains(key)) {
        alarms_[key] = alarm;
        store_.window().Put(kv::Table::kAlarm, alarm.SerializeAsString(), {});
      }
      *response.add_alarms() = alarm;
      break;
    case AlarmRequest::DEACTIVATE:
      if (alarms_.erase(key) == 0) break;
      store_.window().Delete(kv::Table::kAlarm, alarm.SerializeAsString());
      *response.add_alarms() = alarm;
      break;
    default:
      // Services refuse it before it reaches the log; a real etcd dies of it.
      return {{3, "etcdserver: unknown alarm action"}, {}};
  }
  return {{}, HeaderBytes(store_.current_revision()) + response.SerializeAsString()};
}

void EngineImpl::WriteMember(const etcdserverpb::Member& member) {
  store_.window().Put(kv::Table::kMembers, HexText(member.id()), MemberToJson(member));
}

void EngineImpl::BootstrapMember(const etcdserverpb::Member& member) {
  if (members_.contains(member.id())) return;
  members_[member.id()] = member;
  WriteMember(member);
}

Reply EngineImpl::ApplyMemberAttributes(const membershippb::ClusterMemberAttrSetRequest& request) {
  const auto member = members_.find(request.member_id());
  if (member == members_.end()) return {errors::kMemberNotFound, {}};
  member->second.set_name(request.member_attributes().name());
  *member->second.mutable_clienturls() = request.member_attributes().client_urls();
  WriteMember(member->second);
  return {};
}

Reply EngineImpl::ApplyClusterVersion(const membershippb::ClusterVersionSetRequest& request) {
  cluster_version_ = request.ver();
  store_.window().Put(kv::Table::kCluster, "clusterVersion", cluster_version_);
  return {};
}

std::vector<etcdserverpb::AlarmMember> EngineImpl::alarms() const {
  std::vector<etcdserverpb::AlarmMember> out;
  for (const auto& [key, alarm] : alarms_) out.push_back(alarm);
  return out;
}

bool EngineImpl::HasAlarm(etcdserverpb::AlarmType type) const {
  for (const auto& [key, alarm] : alarms_) {
    if (alarm.alarm() == type) return true;
  }
  return false;
}

std::vector<etcdserverpb::Member> EngineImpl::members() const {
  std::vector<etcdserverpb::Member> out;
  for (const auto& [id, member] : members_) out.push_back(member);
  return out;
}

}  // namespace quorate::engine
