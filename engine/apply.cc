// Applying committed entries. Every check is made before the first change.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "engine/engine_impl.h"
#include "engine/mvcc/requests.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

constexpr int kDataLoss = 15;
constexpr ErrorRow kNotServed{12, "etcdserver: this request is not supported in this version"};

}  // namespace

std::string EngineImpl::Body() const {
  std::string out;
  wire::AppendHeader(&out, header_, store_.current_revision());
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
  if (applied_ == LogIndex(1)) auth_.Begin();
  Reply reply;
  if (entry.type != EntryType::kNormal) {
    reply.error = membership_.ApplyConfChange(entry);
  } else if (!entry.data.empty()) {
    reply = ApplyData(entry, answer);
  }
  store_.window().EndEntry(entry.index, entry.term);
  if (answer == Answer::kNotWanted) return {};
  return reply;
}

Reply EngineImpl::ApplyData(const Entry& entry, Answer answer) {
  // Who puts is in the header, which matters only when somebody is asked for it.
  std::optional<PutArguments> put;
  if (!auth_.enabled()) put = ParsePutEntry(entry.data.view());
  if (put) {
    if (alarms_.Has(etcdserverpb::CORRUPT)) return {errors::kCorrupt, {}};
    if (alarms_.Has(etcdserverpb::NOSPACE)) return {errors::kNoSpace, {}};
    return ApplyPut(*put, answer);
  }
  if (!request_.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size()))) {
    return {{kDataLoss, StrCat("log entry ", entry.index.value(), " cannot be read")}, {}};
  }
  return ApplyRequest(request_, answer);
}

Error EngineImpl::AlarmGate(const Request& request) const {
  if (alarms_.empty()) return {};
  const bool takes_space = QuotaCost(request) > 0;
  if (alarms_.Has(etcdserverpb::CORRUPT)) {
    const bool writes = takes_space || request.has_delete_range() || request.has_compaction() ||
                        request.has_lease_revoke() || request.has_txn();
    if (writes) return errors::kCorrupt;
  }
  if (takes_space && alarms_.Has(etcdserverpb::NOSPACE)) return errors::kNoSpace;
  return {};
}

Reply EngineImpl::ApplyRequest(const Request& request, Answer answer) {
  if (Error error = AlarmGate(request); !error.ok()) return {error, {}};
  if (auth_.enabled()) {
    const Identity identity{request.header().username(), request.header().auth_revision()};
    const Error refused = CheckEntryAllowed({auth_, lessor_}, identity, request);
    if (!refused.ok()) return {refused, {}};
  }
  if (request.has_txn()) return ApplyTxn(request.txn());
  if (request.has_put()) return ApplyPut(PutArguments::Of(request.put()), answer);
  if (request.has_delete_range()) return ApplyDelete(request.delete_range());
  if (request.has_compaction()) return ApplyCompaction(request.compaction());
  if (request.has_lease_grant()) return ApplyLeaseGrant(request.lease_grant());
  if (request.has_lease_revoke()) return ApplyLeaseRevoke(request.lease_revoke());
  if (request.has_lease_checkpoint()) return ApplyLeaseCheckpoint(request.lease_checkpoint());
  if (request.has_alarm()) return ApplyAlarm(request.alarm());
  if (request.has_cluster_member_attr_set()) {
    return {membership_.SetAttributes(request.cluster_member_attr_set()), {}};
  }
  if (request.has_cluster_version_set()) {
    membership_.SetVersion(request.cluster_version_set().ver());
    return {};
  }
  if (request.has_downgrade_info_set()) {
    membership_.SetDowngrade(request.downgrade_info_set());
    return {};
  }
  if (std::optional<Reply> reply = ApplyAuth(request)) return *std::move(reply);
  return {kNotServed, {}};
}

Reply EngineImpl::ApplyPut(PutArguments put, Answer answer) {
  if (Error error = put.Check(); !error.ok()) return {error, {}};
  TxnRunner runner(&store_, &lessor_);
  KeyIndex::Place place;
  store_.index().Locate(put.key, &place);
  if (Error error = runner.CheckPut(put, place); !error.ok()) return {error, {}};
  if (answer == Answer::kNotWanted) put.prev_kv = false;
  Reply reply;
  store_.Begin();
  if (answer == Answer::kWanted) {
    wire::AppendHeader(&reply.body, header_, store_.current_revision() + 1);
  }
  runner.RunPut(put, &place, &reply.body);
  Publish(store_.End());
  ++counters_.puts;
  return reply;
}

Reply EngineImpl::ApplyDelete(const etcdserverpb::DeleteRangeRequest& request) {
  if (Error error = CheckDeleteRange(request); !error.ok()) return {error, {}};
  TxnRunner runner(&store_, &lessor_);
  std::string fields;
  store_.Begin();
  runner.RunDelete(request, &fields);
  Publish(store_.End());
  ++counters_.deletes;
  return {{}, Body() + fields};
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
  return {{}, Body() + fields};
}

Reply EngineImpl::ApplyCompaction(const etcdserverpb::CompactionRequest& request) {
  if (request.revision() <= store_.compact_revision()) return {errors::kCompacted, {}};
  if (request.revision() > store_.current_revision()) return {errors::kFutureRev, {}};
  store_.ScheduleCompaction(request.revision());
  return {{}, Body()};
}

Reply EngineImpl::ApplyAlarm(const etcdserverpb::AlarmRequest& request) {
  etcdserverpb::AlarmResponse response;
  if (Error error = alarms_.Apply(request, &response); !error.ok()) return {error, {}};
  return {{}, Body() + response.SerializeAsString()};
}

}  // namespace quorate::engine
