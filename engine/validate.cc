// Checks that need no state, made before a request is proposed (errors.tsv; semantics §2-4).

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/mvcc/requests.h"

namespace quorate::engine {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

// Keys put and intervals deleted by one branch, nested ones included.
struct Touched {
  std::set<std::string> puts;
  std::vector<std::pair<std::string, std::string>> deletes;  // begin, end ("" = single key)
};

// Whether a put of `key` collides with a delete. A range_end of one zero byte is not understood as
// "from key" here: etcd's gap, kept so that the same transactions pass.
bool Overlaps(const std::string& key, const std::pair<std::string, std::string>& interval) {
  const auto& [begin, end] = interval;
  if (end.empty()) return key == begin;
  return key >= begin && key < end;
}

Error CheckIntervals(const google::protobuf::RepeatedPtrField<RequestOp>& ops, Touched* touched);

bool PutCollides(const std::string& key, const Touched& touched) {
  if (touched.puts.contains(key)) return true;
  for (const auto& interval : touched.deletes) {
    if (Overlaps(key, interval)) return true;
  }
  return false;
}

// Both branches of a nested transaction may share keys with each other, not with what is around.
// etcd tests the puts of a nested transaction against what came before, not its deletes.
Error AddNested(const TxnRequest& nested, Touched* touched) {
  Touched success, failure;
  if (Error error = CheckIntervals(nested.success(), &success); !error.ok()) return error;
  if (Error error = CheckIntervals(nested.failure(), &failure); !error.ok()) return error;
  for (const Touched* branch : {&success, &failure}) {
    for (const std::string& key : branch->puts) {
      if (PutCollides(key, *touched)) return errors::kDuplicateKey;
    }
  }
  for (Touched* branch : {&success, &failure}) {
    touched->puts.insert(branch->puts.begin(), branch->puts.end());
    touched->deletes.insert(touched->deletes.end(), branch->deletes.begin(), branch->deletes.end());
  }
  return {};
}

Error CheckIntervals(const google::protobuf::RepeatedPtrField<RequestOp>& ops, Touched* touched) {
  for (const RequestOp& op : ops) {
    if (op.has_request_delete_range()) {
      touched->deletes.emplace_back(op.request_delete_range().key(),
                                    op.request_delete_range().range_end());
    }
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_txn()) continue;
    if (Error error = AddNested(op.request_txn(), touched); !error.ok()) return error;
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_put()) continue;
    const std::string& key = op.request_put().key();
    if (PutCollides(key, *touched)) return errors::kDuplicateKey;
    touched->puts.insert(key);
  }
  return {};
}

Error CheckOp(const RequestOp& op, int64_t budget);

Error CheckOps(const TxnRequest& request, int64_t budget) {
  const int64_t operations =
      std::max({request.compare_size(), request.success_size(), request.failure_size()});
  if (operations > budget) return errors::kTooManyOps;
  for (const etcdserverpb::Compare& compare : request.compare()) {
    if (compare.key().empty()) return errors::kEmptyKey;
  }
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      if (Error error = CheckOp(op, budget - operations); !error.ok()) return error;
    }
  }
  return {};
}

Error CheckOp(const RequestOp& op, int64_t budget) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return Engine::CheckRange(op.request_range());
    case RequestOp::kRequestPut:
      return Engine::CheckPut(op.request_put());
    case RequestOp::kRequestDeleteRange:
      return Engine::CheckDeleteRange(op.request_delete_range());
    case RequestOp::kRequestTxn:
      return CheckOps(op.request_txn(), budget);
    default:
      return errors::kKeyNotFound;
  }
}

constexpr uint64_t kPutOverhead = 256;  // what etcd reckons for index and revision
constexpr uint64_t kLeaseCost = 64;

uint64_t CostOf(const etcdserverpb::PutRequest& put) {
  return kPutOverhead + put.key().size() + put.value().size();
}

uint64_t CostOf(const TxnRequest& txn) {
  uint64_t cost[2] = {0, 0};
  const google::protobuf::RepeatedPtrField<RequestOp>* branches[2] = {&txn.success(),
                                                                      &txn.failure()};
  for (int i = 0; i < 2; ++i) {
    for (const RequestOp& op : *branches[i]) {
      if (op.has_request_put()) cost[i] += CostOf(op.request_put());
      if (op.has_request_txn()) cost[i] += CostOf(op.request_txn());
    }
  }
  return std::max(cost[0], cost[1]);
}

}  // namespace

Error Engine::CheckRange(const RangeRequest& request) {
  if (request.key().empty()) return errors::kEmptyKey;
  if (!RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !RangeRequest::SortTarget_IsValid(request.sort_target())) {
    return errors::kInvalidSortOption;
  }
  return {};
}

Error Engine::CheckRangeStream(const RangeRequest& request) {
  const bool key_order =
      request.sort_target() == RangeRequest::KEY && request.sort_order() != RangeRequest::DESCEND;
  if (request.sort_order() != RangeRequest::NONE && !key_order) return errors::kRangeStreamSort;
  if (request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
      request.min_create_revision() != 0 || request.max_create_revision() != 0) {
    return errors::kRangeStreamFilter;
  }
  return {};
}

Error Engine::CheckPut(const etcdserverpb::PutRequest& request) {
  return PutArguments::Of(request).Check();
}

Error Engine::CheckDeleteRange(const etcdserverpb::DeleteRangeRequest& request) {
  if (request.key().empty()) return errors::kEmptyKey;
  return {};
}

Error Engine::CheckTxn(const TxnRequest& request, uint32_t txn_ops_max) {
  if (Error error = CheckOps(request, txn_ops_max); !error.ok()) return error;
  for (const auto* branch : {&request.success(), &request.failure()}) {
    Touched touched;
    if (Error error = CheckIntervals(*branch, &touched); !error.ok()) return error;
  }
  return {};
}

bool Engine::IsReadOnlyTxn(const TxnRequest& request) {
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      if (!op.has_request_range()) return false;
    }
  }
  return true;
}

bool Engine::IsSerializableTxn(const TxnRequest& request) {
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      if (!op.has_request_range() || !op.request_range().serializable()) return false;
    }
  }
  return true;
}

uint64_t Engine::QuotaCost(const etcdserverpb::InternalRaftRequest& request) {
  if (request.has_put()) return CostOf(request.put());
  if (request.has_txn()) return CostOf(request.txn());
  if (request.has_lease_grant()) return kLeaseCost;
  return 0;
}

}  // namespace quorate::engine
