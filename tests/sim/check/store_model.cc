#include "tests/sim/check/store_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace quorate::sim {
namespace {

using etcdserverpb::Compare;

constexpr int kNotFound = 5;
constexpr int kFailedPrecondition = 9;
constexpr int kOutOfRange = 11;
constexpr int64_t kNewest = INT64_MAX;

template <class T>
bool Fits(Compare::CompareResult result, const T& left, const T& right) {
  switch (result) {
    case Compare::EQUAL:
      return left == right;
    case Compare::NOT_EQUAL:
      return left != right;
    case Compare::GREATER:
      return left > right;
    case Compare::LESS:
      return left < right;
    default:
      return false;
  }
}

bool FitsOne(const Compare& compare, const mvccpb::KeyValue& kv) {
  switch (compare.target()) {
    case Compare::VERSION:
      return Fits(compare.result(), kv.version(), compare.version());
    case Compare::CREATE:
      return Fits(compare.result(), kv.create_revision(), compare.create_revision());
    case Compare::MOD:
      return Fits(compare.result(), kv.mod_revision(), compare.mod_revision());
    case Compare::VALUE:
      return Fits(compare.result(), kv.value(), compare.value());
    case Compare::LEASE:
      return Fits(compare.result(), kv.lease(), compare.lease());
    default:
      return false;
  }
}

}  // namespace

bool InRange(std::string_view key, std::string_view begin, std::string_view end) {
  if (end.empty()) return key == begin;
  return key >= begin && (end == std::string_view("\0", 1) || key < end);
}

const mvccpb::KeyValue* StoreModel::Find(std::string_view key, int64_t revision) const {
  const auto chain = chains_.find(key);
  if (chain == chains_.end()) return nullptr;
  const auto after = std::upper_bound(
      chain->second.begin(), chain->second.end(), revision,
      [](int64_t wanted, const Version& version) { return wanted < version.revision; });
  if (after == chain->second.begin() || !std::prev(after)->value) return nullptr;
  return &*std::prev(after)->value;
}

std::vector<const mvccpb::KeyValue*> StoreModel::FindRange(const std::string& key,
                                                           const std::string& range_end,
                                                           int64_t revision) const {
  std::vector<const mvccpb::KeyValue*> found;
  for (auto at = chains_.lower_bound(key); at != chains_.end(); ++at) {
    if (!InRange(at->first, key, range_end)) break;
    const mvccpb::KeyValue* kv = Find(at->first, revision);
    if (kv != nullptr) found.push_back(kv);
  }
  return found;
}

etcdserverpb::RangeResponse StoreModel::RangeAt(const etcdserverpb::RangeRequest& request,
                                                int64_t revision) const {
  QR_CHECK_MSG(request.sort_order() == etcdserverpb::RangeRequest::NONE,
               "the model knows no sorted ranges");
  const auto found = FindRange(request.key(), request.range_end(), revision);
  etcdserverpb::RangeResponse response;
  response.set_count(static_cast<int64_t>(found.size()));
  if (request.count_only()) return response;
  for (const mvccpb::KeyValue* kv : found) {
    if (request.limit() > 0 && response.kvs_size() == request.limit()) {
      response.set_more(true);
      break;
    }
    mvccpb::KeyValue* out = response.add_kvs();
    *out = *kv;
    if (request.keys_only()) out->clear_value();
  }
  return response;
}

bool StoreModel::Holds(const Compare& compare, int64_t revision) const {
  const auto found = FindRange(compare.key(), compare.range_end(), revision);
  if (found.empty()) {
    return compare.target() != Compare::VALUE && FitsOne(compare, mvccpb::KeyValue());
  }
  return std::all_of(found.begin(), found.end(),
                     [&](const mvccpb::KeyValue* kv) { return FitsOne(compare, *kv); });
}

bool StoreModel::AllHold(const etcdserverpb::TxnRequest& request, int64_t revision) const {
  return std::all_of(request.compare().begin(), request.compare().end(),
                     [&](const Compare& compare) { return Holds(compare, revision); });
}

etcdserverpb::TxnResponse StoreModel::ReadTxnAt(const etcdserverpb::TxnRequest& request,
                                                int64_t revision) const {
  etcdserverpb::TxnResponse response;
  response.set_succeeded(AllHold(request, revision));
  for (const auto& step : response.succeeded() ? request.success() : request.failure()) {
    *response.add_responses()->mutable_response_range() = RangeAt(step.request_range(), revision);
  }
  return response;
}

const std::vector<StoreModel::Change>& StoreModel::ChangesOf(int64_t revision) const {
  QR_CHECK(revision >= 2 && revision <= revision_);
  return changes_[static_cast<size_t>(revision - 2)];
}

size_t StoreModel::KeysAt(int64_t revision) const {
  return FindRange(std::string(1, '\0'), std::string(1, '\0'), revision).size();
}

void StoreModel::Write(const std::string& key, std::optional<mvccpb::KeyValue> value) {
  const mvccpb::KeyValue* before = Find(key, revision_);
  open_.push_back({key, value, before == nullptr ? std::nullopt : std::optional(*before)});
  Chain& chain = chains_[key];
  if (!chain.empty() && chain.back().revision == revision_ + 1) chain.pop_back();
  chain.push_back({revision_ + 1, std::move(value)});
}

void StoreModel::Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response) {
  const mvccpb::KeyValue* before = Find(request.key(), kNewest);
  mvccpb::KeyValue kv;
  kv.set_key(request.key());
  kv.set_value(request.value());
  kv.set_lease(request.lease());
  kv.set_mod_revision(revision_ + 1);
  kv.set_create_revision(before == nullptr ? revision_ + 1 : before->create_revision());
  kv.set_version(before == nullptr ? 1 : before->version() + 1);
  if (request.prev_kv() && before != nullptr) *response->mutable_prev_kv() = *before;
  Write(request.key(), std::move(kv));
}

void StoreModel::Delete(const etcdserverpb::DeleteRangeRequest& request,
                        etcdserverpb::DeleteRangeResponse* response) {
  const auto found = FindRange(request.key(), request.range_end(), kNewest);
  std::vector<std::string> keys;
  for (const mvccpb::KeyValue* kv : found) {
    keys.push_back(kv->key());
    if (request.prev_kv()) *response->add_prev_kvs() = *kv;
  }
  response->set_deleted(static_cast<int64_t>(keys.size()));
  for (const std::string& key : keys) Write(key, std::nullopt);
}

int StoreModel::CheckSteps(const Steps& steps) const {
  for (const auto& step : steps) {
    if (step.has_request_put() && step.request_put().lease() != 0 &&
        !leases_.contains(step.request_put().lease())) {
      return kNotFound;
    }
    if (step.has_request_txn()) {
      // Nested conditions are decided before anything runs.
      const etcdserverpb::TxnRequest& txn = step.request_txn();
      const int error = CheckSteps(AllHold(txn, revision_) ? txn.success() : txn.failure());
      if (error != 0) return error;
    }
  }
  return 0;
}

void StoreModel::RunTxn(const etcdserverpb::TxnRequest& request,
                        etcdserverpb::TxnResponse* response) {
  response->set_succeeded(AllHold(request, revision_));
  for (const auto& step : response->succeeded() ? request.success() : request.failure()) {
    RunStep(step, response->add_responses());
  }
}

void StoreModel::RunStep(const etcdserverpb::RequestOp& step, etcdserverpb::ResponseOp* response) {
  if (step.has_request_range()) {
    *response->mutable_response_range() = RangeAt(step.request_range(), kNewest);
  } else if (step.has_request_put()) {
    Put(step.request_put(), response->mutable_response_put());
  } else if (step.has_request_delete_range()) {
    Delete(step.request_delete_range(), response->mutable_response_delete_range());
  } else if (step.has_request_txn()) {
    RunTxn(step.request_txn(), response->mutable_response_txn());
  }
}

int StoreModel::Grant(const etcdserverpb::LeaseGrantRequest& request) {
  if (leases_.contains(request.id())) return kFailedPrecondition;
  leases_[request.id()] = {std::max(request.ttl(), ttl_min_seconds_)};
  return 0;
}

int StoreModel::Revoke(const etcdserverpb::LeaseRevokeRequest& request) {
  if (leases_.erase(request.id()) == 0) return kNotFound;
  std::vector<std::string> keys;
  for (const auto& [key, chain] : chains_) {
    const mvccpb::KeyValue* kv = Find(key, kNewest);
    if (kv != nullptr && kv->lease() == request.id()) keys.push_back(key);
  }
  for (const std::string& key : keys) Write(key, std::nullopt);
  return 0;
}

int StoreModel::Compact(const etcdserverpb::CompactionRequest& request) {
  if (request.revision() <= compacted_ || request.revision() > revision_) return kOutOfRange;
  compacted_ = request.revision();
  return 0;
}

StoreModel::Answer StoreModel::Apply(const etcdserverpb::InternalRaftRequest& request) {
  Answer answer;
  etcdserverpb::RequestOp step;
  if (request.has_put()) *step.mutable_request_put() = request.put();
  if (request.has_delete_range()) *step.mutable_request_delete_range() = request.delete_range();
  if (request.has_txn()) *step.mutable_request_txn() = request.txn();
  if (request.has_lease_grant()) answer.error_code = Grant(request.lease_grant());
  if (request.has_lease_revoke()) answer.error_code = Revoke(request.lease_revoke());
  if (request.has_compaction()) answer.error_code = Compact(request.compaction());
  if (step.request_case() != etcdserverpb::RequestOp::REQUEST_NOT_SET) {
    Steps steps;
    *steps.Add() = step;
    answer.error_code = CheckSteps(steps);
    if (answer.error_code == 0) RunStep(step, &answer.response);
  }
  if (!open_.empty()) {
    ++revision_;
    changes_.push_back(std::exchange(open_, {}));
    answer.modified = true;
  }
  answer.revision = revision_;
  return answer;
}

}  // namespace quorate::sim
