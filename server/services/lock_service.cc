// v3lockpb.Lock: mutual exclusion made of keys. The key of a caller that stops waiting is deleted;
// that of a caller whose answer was lost stays until its lease ends, as in etcd.

#include "base/check.h"
#include "proto/v3lockpb.pb.h"
#include "server/services/waiting_call.h"

namespace quorate::server {
namespace {

using etcdserverpb::RangeResponse;
using transport::RpcCode;
using transport::RpcStatus;

class LockCall final : public WaitingCall {
 public:
  using WaitingCall::WaitingCall;

  void Begin(const Bytes& request) override {
    if (!ParseOrFail(*caller(), request, &request_)) return;
    WithLease(request_.lease(), [this](int64_t lease) { Acquire(lease); });
  }

 private:
  void Acquire(int64_t lease) {
    key_ = SessionKey(request_.name(), lease);
    etcdserverpb::TxnRequest txn;
    CompareCreated(key_, 0, txn.add_compare());
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(key_);
    put->set_lease(lease);
    txn.add_failure()->mutable_request_range()->set_key(key_);
    const etcdserverpb::RangeRequest first = FirstCreated(KeyPrefix(request_.name()));
    *txn.add_success()->mutable_request_range() = first;
    *txn.add_failure()->mutable_request_range() = first;
    Transact(txn, [this](const RpcStatus& status, const etcdserverpb::TxnResponse& answer) {
      if (!status.ok()) return FailWith(status);
      OnAcquired(answer);
    });
  }

  void OnAcquired(const etcdserverpb::TxnResponse& answer) {
    int64_t created = answer.header().revision();
    if (!answer.succeeded()) {
      QR_CHECK(!answer.responses(0).response_range().kvs().empty());
      created = answer.responses(0).response_range().kvs(0).create_revision();
    } else if (caller_gone()) {
      return GiveUp({RpcCode::kCanceled, "context canceled"});
    }
    const RangeResponse& owner = answer.responses(1).response_range();
    if (owner.kvs().empty() || owner.kvs(0).create_revision() == created) {
      return Answer(answer.header());
    }
    WaitForOlder(KeyPrefix(request_.name()), created - 1, [this](const RpcStatus& status) {
      if (!status.ok()) return GiveUp(status);
      LookForKey();
    });
  }

  // The lease, and the key with it, may have ended while the others were waited for.
  void LookForKey() {
    etcdserverpb::RangeRequest request;
    request.set_key(key_);
    Read(request, [this](const RpcStatus& status, const RangeResponse& found) {
      if (!status.ok()) return GiveUp(status);
      if (caller_gone()) return GiveUp({RpcCode::kCanceled, "context canceled"});
      if (found.kvs().empty()) return FailWith({RpcCode::kUnknown, "mutex: session is expired"});
      Answer(found.header());
    });
  }

  void GiveUp(const RpcStatus& status) {
    Delete(key_, [this, status](const RpcStatus&, const etcdserverpb::DeleteRangeResponse&) {
      FailWith(status);
    });
  }

  void Answer(const etcdserverpb::ResponseHeader& header) {
    v3lockpb::LockResponse response;
    *response.mutable_header() = header;
    response.set_key(key_);
    Reply(response);
  }

  v3lockpb::LockRequest request_;
  std::string key_;
};

class UnlockCall final : public WaitingCall {
 public:
  using WaitingCall::WaitingCall;

  void Begin(const Bytes& bytes) override {
    v3lockpb::UnlockRequest request;
    if (!ParseOrFail(*caller(), bytes, &request)) return;
    Delete(request.key(),
           [this](const RpcStatus& status, const etcdserverpb::DeleteRangeResponse& deleted) {
             if (!status.ok()) return FailWith(status);
             v3lockpb::UnlockResponse response;
             *response.mutable_header() = deleted.header();
             Reply(response);
           });
  }
};

}  // namespace

void AddLockService(ServiceContext* context, transport::ServiceTable* table) {
  const LocalServer server{context, table};
  AddWaitingMethod(server, "/v3lockpb.Lock/Lock", transport::Method::Kind::kUnary, Make<LockCall>(),
                   table);
  AddShortMethod(server, "/v3lockpb.Lock/Unlock", Make<UnlockCall>(), table);
}

}  // namespace quorate::server
