#include "ctl/election.h"

#include "base/text.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"
#include "ctl/watcher.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using transport::RpcCode;
using transport::RpcStatus;

constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
constexpr char kTxnPath[] = "/etcdserverpb.KV/Txn";

RpcStatus Interrupted(const Interruption& interruption) {
  if (interruption.cause() == Interruption::Cause::kSessionLost) {
    return {RpcCode::kAborted, "session expired"};
  }
  return {RpcCode::kCanceled, "context canceled"};
}

// Waits until the key, which was there at `revision`, is deleted.
RpcStatus WaitForDelete(SyncClient* client, const std::string& key, int64_t revision,
                        Interruption* interruption) {
  etcdserverpb::WatchCreateRequest request;
  request.set_key(key);
  request.set_start_revision(revision);
  Watcher watcher(client, request);
  while (const auto response = watcher.Next(interruption)) {
    // The revision is compacted: whether the key still is there, the next read shows.
    if (response->canceled() && response->compact_revision() != 0) return {};
    if (response->canceled()) return {RpcCode::kUnknown, response->cancel_reason()};
    for (const auto& event : response->events()) {
      if (event.type() == mvccpb::Event::DELETE) return {};
    }
  }
  if (interruption->raised()) return Interrupted(*interruption);
  return watcher.status();
}

}  // namespace

std::string ElectionPrefix(const std::string& name) { return StrCat(name, "/"); }

RpcStatus ReadLeader(SyncClient* client, const std::string& name, RangeResponse* response) {
  RangeRequest request;
  request.set_key(ElectionPrefix(name));
  request.set_range_end(PrefixEnd(request.key()));
  request.set_sort_target(RangeRequest::CREATE);
  request.set_sort_order(RangeRequest::ASCEND);
  request.set_limit(1);
  return client->Call(kRangePath, request, response);
}

Candidate::Candidate(SyncClient* client, const std::string& name, int64_t lease)
    : client_(client),
      prefix_(ElectionPrefix(name)),
      key_(StrCat(prefix_, Hex(static_cast<uint64_t>(lease)))),
      lease_(lease) {}

RpcStatus Candidate::Enter(const std::string& value) {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_key(key_);
  compare->set_target(etcdserverpb::Compare::CREATE);
  compare->set_create_revision(0);
  auto* put = request.add_success()->mutable_request_put();
  put->set_key(key_);
  put->set_value(value);
  put->set_lease(lease_);
  request.add_failure()->mutable_request_range()->set_key(key_);
  etcdserverpb::TxnResponse response;
  if (auto status = client_->Call(kTxnPath, request, &response); !status.ok()) return status;
  created_revision_ = response.header().revision();
  if (!response.succeeded()) {
    created_revision_ = response.responses(0).response_range().kvs(0).create_revision();
  }
  revision_ = response.header().revision();
  return {};
}

// The youngest of the older keys: once it is gone, one less is before us, and nobody else is woken.
RpcStatus Candidate::ReadOlder(RangeResponse* response) {
  RangeRequest request;
  request.set_key(prefix_);
  request.set_range_end(PrefixEnd(prefix_));
  request.set_sort_target(RangeRequest::CREATE);
  request.set_sort_order(RangeRequest::DESCEND);
  request.set_limit(1);
  request.set_max_create_revision(created_revision_ - 1);
  return client_->Call(kRangePath, request, response);
}

RpcStatus Candidate::WaitUntilFirst(Interruption* interruption) {
  for (bool waited = false;; waited = true) {
    RangeResponse older;
    if (auto status = ReadOlder(&older); !status.ok()) return status;
    if (older.kvs().empty()) {
      if (waited) revision_ = older.header().revision();
      return {};
    }
    const auto status =
        WaitForDelete(client_, older.kvs(0).key(), older.header().revision(), interruption);
    if (!status.ok()) return status;
  }
}

RpcStatus Candidate::ReadKey(RangeResponse* response) {
  RangeRequest request;
  request.set_key(key_);
  return client_->Call(kRangePath, request, response);
}

RpcStatus Candidate::Leave() {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_key(key_);
  compare->set_target(etcdserverpb::Compare::CREATE);
  compare->set_create_revision(created_revision_);
  request.add_success()->mutable_request_delete_range()->set_key(key_);
  etcdserverpb::TxnResponse response;
  return client_->Call(kTxnPath, request, &response);
}

}  // namespace quorate::ctl
