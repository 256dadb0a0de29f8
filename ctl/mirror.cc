#include "ctl/mirror.h"

#include "base/text.h"
#include "ctl/session.h"
#include "ctl/watcher.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using transport::RpcCode;
using transport::RpcStatus;

constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
constexpr char kPutPath[] = "/etcdserverpb.KV/Put";
constexpr char kTxnPath[] = "/etcdserverpb.KV/Txn";
constexpr int64_t kPageKeys = 1000;

const std::string kZero(1, '\0');

// All keys that begin with the prefix.
template <class Request>
void SetInterval(const std::string& prefix, Request* request) {
  request->set_key(prefix.empty() ? kZero : prefix);
  request->set_range_end(prefix.empty() ? kZero : PrefixEnd(prefix));
}

}  // namespace

Mirror::Mirror(SyncClient* source, SyncClient* destination, MirrorOptions options)
    : source_(source), destination_(destination), options_(std::move(options)) {}

std::string Mirror::DestinationKey(const std::string& key) const {
  return StrCat(options_.destination_prefix, std::string_view(key).substr(options_.prefix.size()));
}

RpcStatus Mirror::Run(Interruption* interruption) {
  if (options_.first_revision > 0) {
    next_revision_ = options_.first_revision;
  } else if (auto status = CopyAll(interruption); !status.ok()) {
    return status;
  }
  return CopyChanges(interruption);
}

// All pages are of one revision, that of the first.
RpcStatus Mirror::CopyAll(Interruption* interruption) {
  RangeRequest request;
  SetInterval(options_.prefix, &request);
  request.set_limit(kPageKeys);
  int64_t revision = 0;
  while (true) {
    if (interruption->raised()) return {RpcCode::kCanceled, "context canceled"};
    RangeResponse page;
    if (auto status = source_->Call(kRangePath, request, &page); !status.ok()) return status;
    if (revision == 0) revision = page.header().revision();
    if (auto status = CopyPage(page); !status.ok()) return status;
    if (!page.more()) break;
    request.set_revision(revision);
    request.set_key(page.kvs(page.kvs_size() - 1).key() + kZero);
  }
  next_revision_ = revision + 1;
  return {};
}

RpcStatus Mirror::CopyPage(const RangeResponse& page) {
  for (const auto& pair : page.kvs()) {
    etcdserverpb::PutRequest put;
    put.set_key(DestinationKey(pair.key()));
    put.set_value(pair.value());
    etcdserverpb::PutResponse response;
    if (auto status = destination_->Call(kPutPath, put, &response); !status.ok()) return status;
    ++copied_;
  }
  return {};
}

RpcStatus Mirror::CopyChanges(Interruption* interruption) {
  etcdserverpb::WatchCreateRequest request;
  SetInterval(options_.prefix, &request);
  request.set_start_revision(next_revision_);
  Watcher watcher(source_, request);
  while (const auto response = watcher.Next(interruption)) {
    if (response->compact_revision() != 0) {
      return {RpcCode::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"};
    }
    if (response->canceled()) return {RpcCode::kUnknown, response->cancel_reason()};
    if (auto status = Apply(*response); !status.ok()) return status;
  }
  if (interruption->raised()) return {RpcCode::kCanceled, "context canceled"};
  return watcher.status();
}

// The changes of one revision together, as far as a transaction holds them.
RpcStatus Mirror::Apply(const etcdserverpb::WatchResponse& response) {
  etcdserverpb::TxnRequest txn;
  int64_t revision = 0;
  for (const auto& event : response.events()) {
    const bool full = static_cast<size_t>(txn.success_size()) >= options_.txn_operations_max;
    if (event.kv().mod_revision() != revision || full) {
      if (auto status = Commit(&txn); !status.ok()) return status;
      next_revision_ = event.kv().mod_revision();
    }
    revision = event.kv().mod_revision();
    const std::string key = DestinationKey(event.kv().key());
    if (event.type() == mvccpb::Event::DELETE) {
      txn.add_success()->mutable_request_delete_range()->set_key(key);
    } else {
      auto* put = txn.add_success()->mutable_request_put();
      put->set_key(key);
      put->set_value(event.kv().value());
    }
  }
  if (auto status = Commit(&txn); !status.ok()) return status;
  if (revision > 0) next_revision_ = revision + 1;
  return {};
}

RpcStatus Mirror::Commit(etcdserverpb::TxnRequest* txn) {
  if (txn->success().empty()) return {};
  etcdserverpb::TxnResponse response;
  const auto status = destination_->Call(kTxnPath, *txn, &response);
  if (status.ok()) copied_ += txn->success_size();
  txn->Clear();
  return status;
}

}  // namespace quorate::ctl
