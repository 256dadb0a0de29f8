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
    if (Error error = CheckOp(op); !error.ok()) return error;
  }
  return {};
}

// What CheckTxn of the engine tests before the log is tested again where a mistake would otherwise
// change state or stop the process: an entry is applied by every member, whoever proposed it.
Error TxnRunner::CheckOp(const RequestOp& op) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange: {
      if (Error error = Engine::CheckRange(op.request_range()); !error.ok()) return error;
      int64_t main;
      return ResolveRevision(*store_, op.request_range().revision(), RangePlace::kTransaction,
                             &main);
    }
    case RequestOp::kRequestPut:
      return CheckPutInTxn(op.request_put());
    case RequestOp::kRequestDeleteRange:
      deleted_.push_back(&op.request_delete_range());
      return Engine::CheckDeleteRange(op.request_delete_range());
    case RequestOp::kRequestTxn:
      return CheckTree(op.request_txn());
    default:
      return errors::kKeyNotFound;  // an operation without a request
  }
}

Error TxnRunner::CheckPutInTxn(const etcdserverpb::PutRequest& request) const {
  if (Error error = Engine::CheckPut(request); !error.ok()) return error;
  KeyIndex::Place place;
  store_->index().Locate(request.key(), &place);
  if (Error error = CheckPut(PutArguments::Of(request), place); !error.ok()) return error;
  if (!request.ignore_value() && !request.ignore_lease()) return {};
  // What is to be kept may be deleted by then: a real etcd dies of it, on every member.
  for (const etcdserverpb::DeleteRangeRequest* deleted : deleted_) {
    if (KeyInterval::Of(deleted->key(), deleted->range_end()).Contains(request.key())) {
      return errors::kKeyNotFound;
    }
  }
  return {};
}

Error TxnRunner::CheckPut(const PutArguments& put, const KeyIndex::Place& place) const {
  if (put.lease != 0 && !lessor_->Exists(LeaseId(put.lease))) return errors::kLeaseNotFound;
  const bool keeps = put.ignore_value || put.ignore_lease;
  if (keeps && (place.entry == nullptr || !place.entry->live())) return errors::kKeyNotFound;
  return {};
}

void TxnRunner::RunPut(const PutArguments& put, KeyIndex::Place* place, std::string* out) {
  const KeyEntry* before = place->entry;
  const bool lived = before != nullptr && before->live();
  QR_CHECK(lived || !(put.ignore_value || put.ignore_lease));  // checked before
  std::string previous;
  if (lived && (put.prev_kv || put.ignore_value))
    previous = store_->ReadOne(before->newest.Unpack());
  const std::string_view value =
      put.ignore_value ? wire::ParseKeyValue(previous)->value : put.value;
  const int64_t lease = put.ignore_lease ? before->lease : put.lease;
  store_->PutAt(place, put.key, value, LeaseId(lease));
  if (put.prev_kv && lived) wire::AppendBytes(out, 2, previous);
}

void TxnRunner::RunDelete(const etcdserverpb::DeleteRangeRequest& request, std::string* out) {
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  std::string previous;
  if (request.prev_kv()) {
    store_->ReadAll(store_->LiveRefs(interval, kNewest, 0),
                    [&](size_t, std::string_view kv) { wire::AppendBytes(&previous, 3, kv); });
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
    case RequestOp::kRequestPut: {
      kind = 2;
      const PutArguments put = PutArguments::Of(op.request_put());
      KeyIndex::Place place;
      store_->index().Locate(put.key, &place);
      RunPut(put, &place, &fields);
      break;
    }
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
