#include "engine/engine_model.h"

#include <algorithm>

#include "base/check.h"

namespace quorate::engine {

using etcdserverpb::Compare;
using etcdserverpb::InternalRaftRequest;
using etcdserverpb::RequestOp;

namespace {

constexpr int64_t kTtlMinSeconds = 2;
constexpr int64_t kTtlMaxSeconds = 9'000'000'000;

bool HasPut(const etcdserverpb::TxnRequest& txn) {
  for (const auto* branch : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *branch) {
      if (op.has_request_put() || (op.has_request_txn() && HasPut(op.request_txn()))) return true;
    }
  }
  return false;
}

template <class Message>
EngineModel::Answer Ok(const Message& message) {
  return {{}, message.SerializeAsString()};
}

}  // namespace

bool ModelContains(const std::string& begin, const std::string& end, const std::string& key) {
  if (end.empty()) return key == begin;
  if (end == std::string(1, '\0')) return key >= begin;
  return key >= begin && key < end;
}

void EngineModel::FillHeader(etcdserverpb::ResponseHeader* header) const {
  header->set_cluster_id(header_.cluster.value());
  header->set_member_id(header_.member.value());
  header->set_raft_term(header_.term.value());
  header->set_revision(current_);
}

EngineModel::State EngineModel::At(int64_t main) const {
  State state;
  for (const Change& change : changes_) {
    if (change.main > main) break;
    if (change.tombstone) {
      state.erase(change.kv.key());
    } else {
      state[change.kv.key()] = change.kv;
    }
  }
  return state;
}

std::set<std::string> EngineModel::KeysOf(int64_t lease) const {
  std::set<std::string> keys;
  for (const auto& [key, kv] : live_) {
    if (kv.lease() == lease) keys.insert(key);
  }
  return keys;
}

// --- entries

EngineModel::Answer EngineModel::Apply(const InternalRaftRequest& request) {
  last_changes_.clear();
  if (const Error error = AlarmGate(request); !error.ok()) return {error, {}};
  if (request.has_txn()) return Txn(request.txn());
  if (request.has_put()) {
    const etcdserverpb::PutRequest& put = request.put();
    if (const Error error = CheckPut(put); !error.ok()) return {error, {}};
    etcdserverpb::PutResponse response;
    Begin();
    Put(put, &response);
    End();
    FillHeader(response.mutable_header());
    return Ok(response);
  }
  if (request.has_delete_range()) {
    const etcdserverpb::DeleteRangeRequest& range = request.delete_range();
    etcdserverpb::DeleteRangeResponse response;
    Begin();
    Delete(range.key(), range.range_end(), range.prev_kv(), &response);
    End();
    FillHeader(response.mutable_header());
    return Ok(response);
  }
  if (request.has_compaction()) return Compact(request.compaction().revision());
  if (request.has_lease_grant()) return Grant(request.lease_grant());
  if (request.has_lease_revoke()) return Revoke(request.lease_revoke().id());
  QR_CHECK(request.has_alarm());
  return Alarm(request.alarm());
}

Error EngineModel::AlarmGate(const InternalRaftRequest& request) const {
  const auto has = [this](int type) {
    return std::any_of(alarms_.begin(), alarms_.end(),
                       [type](const auto& alarm) { return alarm.first == type; });
  };
  const bool puts = request.has_put() || request.has_lease_grant() ||
                    (request.has_txn() && HasPut(request.txn()));
  const bool writes = puts || request.has_delete_range() || request.has_compaction() ||
                      request.has_lease_revoke() || request.has_txn();
  if (has(etcdserverpb::CORRUPT) && writes) return errors::kCorrupt;
  if (has(etcdserverpb::NOSPACE) && puts) return errors::kNoSpace;
  return {};
}

EngineModel::Answer EngineModel::Compact(int64_t revision) {
  if (revision <= compacted_) return {errors::kCompacted, {}};
  if (revision > current_) return {errors::kFutureRev, {}};
  compacted_ = revision;
  compactions_.insert(revision);
  etcdserverpb::CompactionResponse response;
  FillHeader(response.mutable_header());
  return Ok(response);
}

EngineModel::Answer EngineModel::Grant(const etcdserverpb::LeaseGrantRequest& request) {
  if (request.ttl() > kTtlMaxSeconds) return {errors::kLeaseTTLTooLarge, {}};
  if (leases_.contains(request.id())) return {errors::kLeaseExist, {}};
  leases_[request.id()] = std::max(request.ttl(), kTtlMinSeconds);
  etcdserverpb::LeaseGrantResponse response;
  FillHeader(response.mutable_header());
  response.set_id(request.id());
  response.set_ttl(leases_[request.id()]);
  return Ok(response);
}

EngineModel::Answer EngineModel::Revoke(int64_t lease) {
  if (!leases_.contains(lease)) return {errors::kLeaseNotFound, {}};
  const std::set<std::string> keys = KeysOf(lease);
  leases_.erase(lease);
  Begin();
  for (const std::string& key : keys) DeleteKey(key);
  End();
  etcdserverpb::LeaseRevokeResponse response;
  FillHeader(response.mutable_header());
  return Ok(response);
}

EngineModel::Answer EngineModel::Alarm(const etcdserverpb::AlarmRequest& request) {
  etcdserverpb::AlarmResponse response;
  FillHeader(response.mutable_header());
  const std::pair<int, uint64_t> alarm(request.alarm(), request.memberid());
  bool tell = false;
  if (request.action() == etcdserverpb::AlarmRequest::ACTIVATE) {
    tell = request.alarm() != etcdserverpb::NONE;
    if (tell) alarms_.insert(alarm);
  } else {
    tell = alarms_.erase(alarm) > 0;
  }
  if (tell) {
    response.add_alarms()->set_memberid(alarm.second);
    response.mutable_alarms(0)->set_alarm(request.alarm());
  }
  return Ok(response);
}

// --- changes

void EngineModel::Begin() { before_ = live_; }

void EngineModel::End() {
  if (last_changes_.empty()) return;
  ++current_;
  changes_.insert(changes_.end(), last_changes_.begin(), last_changes_.end());
}

Error EngineModel::CheckPut(const etcdserverpb::PutRequest& request) const {
  if (request.lease() != 0 && !leases_.contains(request.lease())) return errors::kLeaseNotFound;
  const bool keeps = request.ignore_value() || request.ignore_lease();
  if (keeps && !live_.contains(request.key())) return errors::kKeyNotFound;
  return {};
}

void EngineModel::Put(const etcdserverpb::PutRequest& request,
                      etcdserverpb::PutResponse* response) {
  Change change{.main = current_ + 1, .sub = static_cast<int64_t>(last_changes_.size())};
  change.kv.set_key(request.key());
  change.kv.set_create_revision(change.main);
  change.kv.set_mod_revision(change.main);
  change.kv.set_version(1);
  change.kv.set_value(request.value());
  change.kv.set_lease(request.lease());
  if (const auto old = live_.find(request.key()); old != live_.end()) {
    if (request.prev_kv()) *response->mutable_prev_kv() = old->second;
    change.kv.set_create_revision(old->second.create_revision());
    change.kv.set_version(old->second.version() + 1);
    if (request.ignore_value()) change.kv.set_value(old->second.value());
    if (request.ignore_lease()) change.kv.set_lease(old->second.lease());
  }
  const auto old = before_.find(request.key());
  if (old != before_.end() && change.kv.version() > 1) change.previous = old->second;
  live_[request.key()] = change.kv;
  last_changes_.push_back(std::move(change));
}

void EngineModel::DeleteKey(const std::string& key) {
  Change change{
      .main = current_ + 1, .sub = static_cast<int64_t>(last_changes_.size()), .tombstone = true};
  change.kv.set_key(key);
  if (const auto old = before_.find(key); old != before_.end()) change.previous = old->second;
  QR_CHECK(live_.erase(key) == 1);
  last_changes_.push_back(std::move(change));
}

void EngineModel::Delete(const std::string& key, const std::string& end, bool prev_kv,
                         etcdserverpb::DeleteRangeResponse* response) {
  std::vector<std::string> doomed;
  for (const auto& [name, kv] : live_) {
    if (!ModelContains(key, end, name)) continue;
    doomed.push_back(name);
    if (prev_kv) *response->add_prev_kvs() = kv;
  }
  for (const std::string& name : doomed) DeleteKey(name);
  response->set_deleted(static_cast<int64_t>(doomed.size()));
}

// --- transactions

bool EngineModel::Holds(const Compare& compare) const {
  std::vector<KeyValue> subjects;
  for (const auto& [key, kv] : live_) {
    if (ModelContains(compare.key(), compare.range_end(), key)) subjects.push_back(kv);
  }
  if (subjects.empty()) {
    if (compare.target() == Compare::VALUE) return false;
    subjects.emplace_back();
  }
  return std::all_of(subjects.begin(), subjects.end(), [&](const KeyValue& kv) {
    const auto [mine, asked] = [&]() -> std::pair<int64_t, int64_t> {
      switch (compare.target()) {
        case Compare::VERSION:
          return {kv.version(), compare.version()};
        case Compare::CREATE:
          return {kv.create_revision(), compare.create_revision()};
        case Compare::MOD:
          return {kv.mod_revision(), compare.mod_revision()};
        case Compare::LEASE:
          return {kv.lease(), compare.lease()};
        default:
          return {kv.value().compare(compare.value()), 0};
      }
    }();
    switch (compare.result()) {
      case Compare::EQUAL:
        return mine == asked;
      case Compare::GREATER:
        return mine > asked;
      case Compare::LESS:
        return mine < asked;
      default:
        return mine != asked;
    }
  });
}

void EngineModel::Decide(const TxnRequest& request, Outcomes* outcomes) const {
  const bool succeeded = std::all_of(request.compare().begin(), request.compare().end(),
                                     [this](const Compare& compare) { return Holds(compare); });
  (*outcomes)[&request] = succeeded;
  for (const RequestOp& op : succeeded ? request.success() : request.failure()) {
    if (op.has_request_txn()) Decide(op.request_txn(), outcomes);
  }
}

Error EngineModel::CheckTxn(const TxnRequest& request, const Outcomes& outcomes,
                            Deleted* deleted) const {
  for (const RequestOp& op : outcomes.at(&request) ? request.success() : request.failure()) {
    Error error;
    if (op.has_request_range()) {
      error = ReadableAt(op.request_range().revision(), Place::kTransaction);
    } else if (op.has_request_put()) {
      const etcdserverpb::PutRequest& put = op.request_put();
      error = CheckPut(put);
      // Not of etcd, which dies of it: what is to be kept was deleted by this very transaction.
      const bool gone = std::any_of(deleted->begin(), deleted->end(), [&](const auto& range) {
        return ModelContains(range.first, range.second, put.key());
      });
      if (error.ok() && gone && (put.ignore_value() || put.ignore_lease())) {
        error = errors::kKeyNotFound;
      }
    } else if (op.has_request_delete_range()) {
      deleted->emplace_back(op.request_delete_range().key(), op.request_delete_range().range_end());
    } else {
      error = CheckTxn(op.request_txn(), outcomes, deleted);
    }
    if (!error.ok()) return error;
  }
  return {};
}

void EngineModel::RunTxn(const TxnRequest& request, const Outcomes& outcomes,
                         etcdserverpb::TxnResponse* response) {
  response->set_succeeded(outcomes.at(&request));
  for (const RequestOp& op : response->succeeded() ? request.success() : request.failure()) {
    etcdserverpb::ResponseOp* out = response->add_responses();
    if (op.has_request_range()) {
      const etcdserverpb::RangeRequest& range = op.request_range();
      etcdserverpb::RangeResponse* answer = out->mutable_response_range();
      State storage;
      FillRange(range, StateFor(range.revision(), &storage), answer);
      answer->mutable_header()->set_revision(SeenRevision());
    } else if (op.has_request_put()) {
      Put(op.request_put(), out->mutable_response_put());
      out->mutable_response_put()->mutable_header()->set_revision(SeenRevision());
    } else if (op.has_request_delete_range()) {
      const etcdserverpb::DeleteRangeRequest& range = op.request_delete_range();
      Delete(range.key(), range.range_end(), range.prev_kv(), out->mutable_response_delete_range());
      out->mutable_response_delete_range()->mutable_header()->set_revision(SeenRevision());
    } else {
      out->mutable_response_txn()->mutable_header();
      RunTxn(op.request_txn(), outcomes, out->mutable_response_txn());
    }
  }
}

EngineModel::Answer EngineModel::Txn(const TxnRequest& request) {
  Outcomes outcomes;
  Decide(request, &outcomes);
  Deleted deleted;
  if (const Error error = CheckTxn(request, outcomes, &deleted); !error.ok()) return {error, {}};
  etcdserverpb::TxnResponse response;
  Begin();
  RunTxn(request, outcomes, &response);
  End();
  FillHeader(response.mutable_header());
  return Ok(response);
}

EngineModel::Answer EngineModel::ReadTxn(const TxnRequest& request) const {
  EngineModel copy = *this;
  copy.last_changes_.clear();
  return copy.Txn(request);
}

}  // namespace quorate::engine
