#include "server/services/waiting_call.h"

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/text.h"

namespace quorate::server {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::WatchResponse;
using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr int64_t kSessionTtlSeconds = 60;  // etcd's, where no lease was named

Bytes Serialized(const google::protobuf::MessageLite& message) {
  return Bytes::FromString(message.SerializeAsString());
}

}  // namespace

std::string KeyPrefix(std::string_view name) { return StrCat(name, "/"); }

std::string SessionKey(std::string_view name, int64_t lease) {
  const uint64_t magnitude = lease < 0 ? 0 - static_cast<uint64_t>(lease) : lease;
  return StrCat(name, lease < 0 ? "/-" : "/", absl::StrFormat("%x", magnitude));
}

std::string PrefixEnd(std::string prefix) {
  QR_CHECK(!prefix.empty() && prefix.back() == '/');
  ++prefix.back();
  return prefix;
}

RangeRequest FirstCreated(const std::string& prefix) {
  RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(PrefixEnd(prefix));
  request.set_sort_target(RangeRequest::CREATE);
  request.set_sort_order(RangeRequest::ASCEND);
  request.set_limit(1);
  return request;
}

void CompareCreated(const std::string& key, int64_t revision, etcdserverpb::Compare* compare) {
  compare->set_key(key);
  compare->set_target(etcdserverpb::Compare::CREATE);
  compare->set_result(etcdserverpb::Compare::EQUAL);
  compare->set_create_revision(revision);
}

template <class Answer>
void WaitingCall::Ask(std::string_view path, const google::protobuf::MessageLite& request,
                      Then<Answer> then) {
  AskLocally(server_, path, caller_, Serialized(request),
             [self = shared_from_this(), then = std::move(then)](const RpcStatus& status,
                                                                 const Bytes& bytes) {
               Answer answer;
               if (status.ok()) {
                 QR_CHECK(answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
               }
               then(status, answer);
             });
}

void WaitingCall::Transact(const etcdserverpb::TxnRequest& request,
                           Then<etcdserverpb::TxnResponse> then) {
  Ask("/etcdserverpb.KV/Txn", request, std::move(then));
}

void WaitingCall::Read(const RangeRequest& request, Then<RangeResponse> then) {
  Ask("/etcdserverpb.KV/Range", request, std::move(then));
}

void WaitingCall::Delete(const std::string& key, Then<etcdserverpb::DeleteRangeResponse> then) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  Ask("/etcdserverpb.KV/DeleteRange", request, std::move(then));
}

void WaitingCall::WithLease(int64_t lease, std::function<void(int64_t)> then) {
  if (lease != 0) return then(lease);
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(kSessionTtlSeconds);
  Ask<etcdserverpb::LeaseGrantResponse>(
      "/etcdserverpb.Lease/LeaseGrant", request,
      [this, then = std::move(then)](const RpcStatus& status,
                                     const etcdserverpb::LeaseGrantResponse& granted) {
        if (!status.ok()) return FailWith(status);
        then(granted.id());
      });
}

void WaitingCall::Watch(const std::string& key, const std::string& range_end, int64_t revision,
                        Then<WatchResponse> then) {
  etcdserverpb::WatchRequest request;
  request.mutable_create_request()->set_key(key);
  request.mutable_create_request()->set_range_end(range_end);
  request.mutable_create_request()->set_start_revision(revision);
  // Whoever owns this call ends the watch with it.
  const std::weak_ptr<WaitingCall> weak = weak_from_this();
  const auto shared_then = std::make_shared<Then<WatchResponse>>(std::move(then));
  LocalStream::Events events;
  events.message = [weak, shared_then](const Bytes& bytes) {
    const std::shared_ptr<WaitingCall> self = weak.lock();
    if (self == nullptr) return;
    WatchResponse response;
    QR_CHECK(response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    if (!response.canceled()) return (*shared_then)({}, response);
    // As etcd's client reports it.
    std::string reason = response.cancel_reason();
    if (response.compact_revision() != 0) {
      reason = "etcdserver: mvcc: required revision has been compacted";
    } else if (reason.empty()) {
      reason = "etcdserver: mvcc: watch was canceled";
    }
    (*shared_then)({RpcCode::kUnknown, std::move(reason)}, response);
  };
  events.ended = [weak, shared_then](const RpcStatus& status) {
    const std::shared_ptr<WaitingCall> self = weak.lock();
    if (self != nullptr) (*shared_then)(status, {});
  };
  watch_ = std::make_unique<LocalStream>(server_, "/etcdserverpb.Watch/Watch", caller_,
                                         Serialized(request), std::move(events));
}

void WaitingCall::WaitForOlder(std::string prefix, int64_t revision_max, OnOutcome then) {
  if (caller_gone_) return then({RpcCode::kCanceled, "context canceled"});
  RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(PrefixEnd(prefix));
  request.set_sort_target(RangeRequest::CREATE);
  request.set_sort_order(RangeRequest::DESCEND);
  request.set_limit(1);
  request.set_max_create_revision(revision_max);
  Read(request, [this, prefix, revision_max, then](const RpcStatus& status,
                                                   const RangeResponse& found) {
    if (!status.ok() || found.kvs().empty()) return then(status);
    if (caller_gone_) return then({RpcCode::kCanceled, "context canceled"});
    waiting_ = then;
    Watch(found.kvs(0).key(), "", found.header().revision(),
          [this, prefix, revision_max](const RpcStatus& watch_status, const WatchResponse& seen) {
            if (!watch_status.ok()) return StopWaiting(watch_status);
            for (const mvccpb::Event& event : seen.events()) {
              if (event.type() != mvccpb::Event::DELETE) continue;
              EndWatch();
              return WaitForOlder(prefix, revision_max, std::exchange(waiting_, nullptr));
            }
          });
  });
}

void WaitingCall::StopWaiting(const RpcStatus& status) {
  EndWatch();
  if (waiting_ != nullptr) std::exchange(waiting_, nullptr)(status);
}

void WaitingCall::OnCallerGone() {
  caller_gone_ = true;
  StopWaiting({RpcCode::kCanceled, "context canceled"});
}

void WaitingCall::OnWritable() {
  if (watch_ != nullptr) watch_->OnWritable();
}

void WaitingCall::Reply(const google::protobuf::MessageLite& answer) {
  caller_->Reply(Serialized(answer));
}

void WaitingCall::Send(const google::protobuf::MessageLite& answer) {
  caller_->Send(Serialized(answer));
}

void WaitingCall::FailWith(const RpcStatus& status) {
  // A time that is up keeps its code; all else loses it on its way through etcd's own client.
  const bool of_time =
      status.code == RpcCode::kCanceled || status.code == RpcCode::kDeadlineExceeded;
  caller_->Finish({of_time ? status.code : RpcCode::kUnknown, status.message});
}

namespace {

class WaitingCallHandler final : public transport::CallHandler {
 public:
  WaitingCallHandler(ServiceContext* context, CallPtr caller, std::shared_ptr<WaitingCall> call)
      : context_(context), caller_(std::move(caller)), call_(std::move(call)) {}

  void OnMessage(Bytes message) override {
    if (call_ == nullptr || begun_) return;
    begun_ = true;
    context_->loop->Run(
        [call = call_, message = std::move(message)](Replica&) { call->Begin(message); });
  }
  void OnHalfClose() override {}
  void OnWritable() override {
    if (!begun_) return;
    context_->loop->Run([call = call_](Replica&) { call->OnWritable(); });
  }
  void OnClosed() override {
    context_->leader_streams->Remove(caller_.get());
    if (!begun_) return;
    context_->loop->Run([call = std::move(call_)](Replica&) { call->OnCallerGone(); });
  }

 private:
  ServiceContext* const context_;
  const CallPtr caller_;
  std::shared_ptr<WaitingCall> call_;  // null: refused
  bool begun_ = false;
};

}  // namespace

void AddShortMethod(LocalServer server, std::string path, WaitingCallFactory make,
                    transport::ServiceTable* table) {
  transport::Method method;
  method.path = std::move(path);
  method.unary = [server, make = std::move(make)](CallPtr caller, Bytes request) {
    if (!Admit(*server.context, *caller)) return;
    server.context->loop->Run([call = make(server, std::move(caller)),
                               request = std::move(request)](Replica&) { call->Begin(request); });
  };
  table->Add(std::move(method));
}

void AddWaitingMethod(LocalServer server, std::string path, transport::Method::Kind kind,
                      WaitingCallFactory make, transport::ServiceTable* table) {
  transport::Method method;
  method.path = std::move(path);
  method.kind = kind;
  method.bidi = [server, kind, make = std::move(make)](CallPtr caller) {
    const bool admitted = kind == transport::Method::Kind::kUnary
                              ? Admit(*server.context, *caller)
                              : AdmitStream(*server.context, caller);
    return std::make_unique<WaitingCallHandler>(server.context, caller,
                                                admitted ? make(server, caller) : nullptr);
  };
  table->Add(std::move(method));
}

}  // namespace quorate::server
