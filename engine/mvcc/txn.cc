#include "engine/mvcc/txn.h"

#include <utility>

#include "base/check.h"
#include "engine/mvcc/range.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

// -1, 0, 1
template <class T>
int Order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

// A union member that is not the target's counts as zero or empty.
int OrderOfTarget(const Compare& compare, const KeyEntry* entry, std::string_view value) {
  const bool live = entry != nullptr && entry->live();
  switch (compare.target()) {
    case Compare::VERSION:
      return Order(live ? entry->version : 0, compare.version());
    case Compare::CREATE:
      return Order(live ? entry->create_revision : 0, compare.create_revision());
    case Compare::MOD:
      return Order(live ? entry->newest.main : 0, compare.mod_revision());
    case Compare::LEASE:
      return Order(live ? entry->lease : 0, compare.lease());
    case Compare::VALUE:
      return Order(value, std::string_view(compare.value()));
    default:
      return 0;  // an unknown target: operands count as equal
  }
}

bool Satisfies(Compare::CompareResult result, int order) {
  switch (result) {
    case Compare::EQUAL:
      return order == 0;
    case Compare::GREATER:
      return order > 0;
    case Compare::LESS:
      return order < 0;
    case Compare::NOT_EQUAL:
      return order != 0;
    default:
      return true;  // an unknown result holds
  }
}

}  // namespace

bool TxnRunner::Holds(const Compare& compare) const {
  bool any = false, holds = true;
  store_->index().Walk(KeyInterval::Of(compare.key(), compare.range_end()),
                       [&](const KeyEntry& entry) {
                         if (!entry.live()) return true;
                         any = true;
                         std::string stored;
                         std::string_view value;
                         if (compare.target() == Compare::VALUE) {
                           stored = store_->ReadOne(entry.newest.Unpack());
                           value = wire::ParseKeyValue(stored)->value;
                         }
                         holds = Satisfies(compare.result(), OrderOfTarget(compare, &entry, value));
                         return holds;
                       });
  if (any) return holds;
  // An empty interval is one missing key, whose value compares to nothing at all.
  if (compare.target() == Compare::VALUE) return false;
  return Satisfies(compare.result(), OrderOfTarget(compare, nullptr, {}));
}

void TxnRunner::Decide(const TxnRequest& request) {
  outcomes_.clear();
  DecideTree(request);
}

void TxnRunner::DecideTree(const TxnRequest& request) {
  bool succeeded = true;
  for (const Compare& compare : request.compare()) {
    if (!Holds(compare)) {
      succeeded = false;
      break;
    }
  }
  outcomes_.push_back(succeeded);
  for (const RequestOp& op : succeeded ? request.success() : request.failure()) {
    if (op.has_request_txn()) DecideTree(op.request_txn());
  }
}

const google::protobuf::RepeatedPtrField<RequestOp>& TxnRunner::Branch(const TxnRequest& request) {
  QR_CHECK(next_outcome_ < outcomes_.size());
  return outcomes_[next_outcome_++] ? request.success() : request.failure();
}

Error TxnRunner::Check(const TxnRequest& request) {
  next_outcome_ = 0;
  deleted_.clear();
  return CheckTree(request);
}

Error TxnRunner::CheckTree(const TxnRequest& request) {
  for (const RequestOp& op : Branch(request)) {
    Error error;
    if (op.has_request_range()) {
      int64_t main;
      error =
          ResolveRevision(*store_, op.request_range().revision(), RangePlace::kTransaction, &main);
    } else if (op.has_request_put()) {
      error = CheckPut(op.request_put());
    } else if (op.has_request_delete_range()) {
      deleted_.push_back(&op.request_delete_range());
    } else if (op.has_request_txn()) {
      error = CheckTree(op.request_txn());
    }
    if (!error.ok()) return error;
  }
  return {};
}

Error TxnRunner::CheckPut(const etcdserverpb::PutRequest& request) {
  if (request.lease() != 0 && !lessor_->Exists(LeaseId(request.lease()))) {
    return errors::kLeaseNotFound;
  }
  if (!request.ignore_value() && !request.ignore_lease()) return {};
  const KeyEntry* entry = store_->index().Find(request.key());
  if (entry == nullptr || !entry->live()) return errors::kKeyNotFound;
  // What is to be kept may be deleted by then: a real etcd dies of it, on every member.
  for (const etcdserverpb::DeleteRangeRequest* deleted : deleted_) {
    const KeyInterval interval = KeyInterval::Of(deleted->key(), deleted->range_end());
    const bool inside = interval.single
                            ? request.key() == interval.begin
                            : request.key() >= interval.begin && !interval.Before(request.key());
    if (inside) return errors::kKeyNotFound;
  }
  return {};
}

void TxnRunner::RunPut(const etcdserverpb::PutRequest& request, std::string* out) {
  const bool needs_previous = request.prev_kv() || request.ignore_value() || request.ignore_lease();
  std::string previous;
  if (needs_previous) {
    const KeyEntry* entry = store_->index().Find(request.key());
    if (entry != nullptr && entry->live()) previous = store_->ReadOne(entry->newest.Unpack());
  }
  std::string_view value = request.value();
  int64_t lease = request.lease();
  if (request.ignore_value() || request.ignore_lease()) {
    const wire::KeyValue kept = *wire::ParseKeyValue(previous);
    if (request.ignore_value()) value = kept.value;
    if (request.ignore_lease()) lease = kept.lease;
  }
  store_->Put(request.key(), value, LeaseId(lease));
  if (request.prev_kv() && !previous.empty()) wire::AppendBytes(out, 2, previous);
}

void TxnRunner::RunDelete(const etcdserverpb::DeleteRangeRequest& request, std::string* out) {
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  std::vector<RecordRef> refs;
  std::string previous;
  if (request.prev_kv()) {
    refs = store_->LiveRefs(interval, kNewest, 0);
    for (const RecordRef& ref : refs) wire::AppendBytes(&previous, 3, store_->ReadOne(ref));
  }
  wire::AppendInt(out, 2, store_->DeleteRange(interval));
  out->append(previous);
}

void TxnRunner::Run(const TxnRequest& request, std::string* out) {
  next_outcome_ = 0;
  RunTree(request, out);
}

void TxnRunner::RunTree(const TxnRequest& request, std::string* out) {
  const bool succeeded = outcomes_[next_outcome_];
  wire::AppendUint(out, 2, succeeded ? 1 : 0);
  for (const RequestOp& op : Branch(request)) {
    std::string response;
    RunOp(op, &response);
    wire::AppendBytes(out, 3, response);
  }
}

void TxnRunner::RunOp(const RequestOp& op, std::string* out) {
  std::string fields, header;
  uint32_t kind = 0;
  switch (op.request_case()) {
    case RequestOp::kRequestRange: {
      kind = 1;
      int64_t main;
      const Error error =
          ResolveRevision(*store_, op.request_range().revision(), RangePlace::kTransaction, &main);
      QR_CHECK(error.ok());  // checked before
      EvaluateRange(*store_, op.request_range(), main, &fields);
      break;
    }
    case RequestOp::kRequestPut:
      kind = 2;
      RunPut(op.request_put(), &fields);
      break;
    case RequestOp::kRequestDeleteRange:
      kind = 3;
      RunDelete(op.request_delete_range(), &fields);
      break;
    case RequestOp::kRequestTxn:
      kind = 4;
      RunTree(op.request_txn(), &fields);
      wire::AppendBytes(&header, 1, {});  // nested answers carry an empty header
      break;
    default:
      QR_CHECK_MSG(false, "an operation without a request passed the checks");
  }
  if (kind != 4) wire::AppendInnerHeader(&header, store_->TransactionRevision());
  wire::AppendBytes(out, kind, header + fields);
}

}  // namespace quorate::engine
