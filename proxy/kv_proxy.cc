#include "proxy/kv_proxy.h"

#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using transport::Method;
using transport::RpcCode;
using transport::RpcStatus;

namespace {

// How long a member is waited for that is not behind what has been shown.
constexpr int64_t kOrderPatienceNs = 3 * kNanosPerSecond;
constexpr int64_t kOrderPauseNs = 10 * kNanosPerMilli;
constexpr char kNoGreaterText[] =
    "etcdclient: no cluster members have a revision higher than the previously received revision";

bool HasToken(const transport::ServerCall& call) {
  return call.Metadata("token").has_value() || call.Metadata("authorization").has_value();
}

using Writes = std::vector<std::pair<std::string, std::string>>;

void AddWrites(const etcdserverpb::TxnRequest& request, Writes* out) {
  for (const auto* operations : {&request.success(), &request.failure()}) {
    for (const auto& operation : *operations) {
      if (operation.has_request_put()) {
        out->emplace_back(operation.request_put().key(), "");
      } else if (operation.has_request_delete_range()) {
        const auto& range = operation.request_delete_range();
        out->emplace_back(range.key(), range.range_end());
      } else if (operation.has_request_txn()) {
        AddWrites(operation.request_txn(), out);
      }
    }
  }
}

}  // namespace

void KvProxy::AddTo(transport::ServiceTable* table) {
  const auto add = [&](const char* name, void (KvProxy::*handler)(const CallPtr&, const Bytes&)) {
    Method method;
    method.path = StrCat("/etcdserverpb.KV/", name);
    method.unary = [this, handler](CallPtr call, Bytes body) {
      parts_.upstream->loop()->Post([this, handler, call = std::move(call),
                                     body = std::move(body)] { (this->*handler)(call, body); });
    };
    table->Add(std::move(method));
  };
  add("Range", &KvProxy::Range);
  add("Put", &KvProxy::Put);
  add("DeleteRange", &KvProxy::DeleteRange);
  add("Txn", &KvProxy::Txn);
  add("Compact", &KvProxy::Compact);
  Method stream;
  stream.path = "/etcdserverpb.KV/RangeStream";
  stream.kind = Method::Kind::kServerStream;
  stream.unary = [](const CallPtr& call, const Bytes&) {
    call->Finish({RpcCode::kUnimplemented, "RangeStream is not supported by the gRPC proxy"});
  };
  table->Add(std::move(stream));
}

void KvProxy::Ask(const CallPtr& call, const char* method, Bytes body, Again again, Answered then) {
  UpstreamRequest request;
  request.path = StrCat("/etcdserverpb.KV/", method);
  request.body = std::move(body);
  request.metadata = MetadataFor(*call);
  request.deadline_ns = call->deadline_ns();
  request.again = again;
  parts_.upstream->Call(std::move(request),
                        [call, then = std::move(then)](RpcStatus status, Bytes answer) {
                          if (!status.ok()) return call->Finish(std::move(status));
                          then(std::move(answer));
                        });
}

void KvProxy::AskInOrder(const CallPtr& call, Bytes body, int64_t give_up_ns, Answered then) {
  Ask(call, "Range", body, Again::kAlways,
      [this, call, body, give_up_ns, then = std::move(then)](Bytes answer) {
        const int64_t revision = HeaderOf(answer).revision();
        transport::EventLoop* const loop = parts_.upstream->loop();
        if (parts_.order == Order::kNone || revision >= shown_revision_) {
          shown_revision_ = std::max(shown_revision_, revision);
          return then(std::move(answer));
        }
        if (loop->NowNs() >= give_up_ns) return call->Finish({RpcCode::kUnknown, kNoGreaterText});
        loop->RunAt(loop->NowNs() + kOrderPauseNs, [this, call, body, give_up_ns, then] {
          AskInOrder(call, body, give_up_ns, then);
        });
      });
}

bool KvProxy::RefuseEmptyKey(transport::ServerCall& call, const std::string& key) const {
  // Without a namespace the member says so itself.
  if (parts_.space->IsWhole() || !key.empty()) return false;
  call.Finish({RpcCode::kInvalidArgument, kEmptyKeyText});
  return true;
}

bool KvProxy::AnswerFromCache(const CallPtr& call, const etcdserverpb::RangeRequest& request) {
  if (!request.serializable()) return false;
  if (!HasToken(*call)) {
    const bool compacted = cache_.IsCompacted(request.revision());
    const std::optional<Bytes> known = compacted ? std::nullopt : cache_.Find(request);
    if (compacted || known.has_value()) {
      ++parts_.counters->cache_hits;
      if (compacted) {
        call->Finish({RpcCode::kOutOfRange, kCompactedText});
      } else {
        call->Reply(*known);
      }
      return true;
    }
  }
  ++parts_.counters->cache_misses;
  return false;
}

void KvProxy::Range(const CallPtr& call, const Bytes& body) {
  etcdserverpb::RangeRequest request;
  if (!ParseOrFail(*call, body, &request) || RefuseEmptyKey(*call, request.key())) return;
  // Somebody signs in: what everybody might see so far may not be for everybody.
  if (HasToken(*call)) ForgetAll();
  if (AnswerFromCache(call, request)) return;
  Bytes entered = body;
  if (!parts_.space->IsWhole()) {
    etcdserverpb::RangeRequest inside = request;
    parts_.space->EnterRange(&inside);
    entered = Serialize(inside);
  }
  const int64_t give_up_ns = parts_.upstream->loop()->NowNs() + kOrderPatienceNs;
  AskInOrder(call, entered, give_up_ns, [this, call, request](Bytes answer) {
    if (!parts_.space->IsWhole()) {
      etcdserverpb::RangeResponse response;
      if (!Parse(answer, &response)) return call->Finish(NoSuchAnswer());
      parts_.space->Leave(&response);
      answer = Serialize(response);
    }
    if (!HasToken(*call)) {
      cache_.Add(request, HeaderOf(answer).revision(), answer);
      CountKeys();
    }
    call->Reply(std::move(answer));
  });
}

void KvProxy::ReadFor(const CallPtr& call, etcdserverpb::RangeRequest request, Read done) {
  parts_.space->EnterRange(&request);
  UpstreamRequest asked;
  asked.path = "/etcdserverpb.KV/Range";
  asked.body = Serialize(request);
  if (call != nullptr) {
    asked.metadata = MetadataFor(*call);
    asked.deadline_ns = call->deadline_ns();
  }
  asked.again = Again::kAlways;
  parts_.upstream->Call(std::move(asked), [this, done = std::move(done)](const RpcStatus& status,
                                                                         const Bytes& answer) {
    etcdserverpb::RangeResponse response;
    if (status.ok() && Parse(answer, &response)) {
      parts_.space->Leave(&response);
    }
    done(status, response);
  });
}

void KvProxy::Forget(const Writes& touched) {
  for (const auto& [key, range_end] : touched) cache_.Forget(key, range_end);
  CountKeys();
}

void KvProxy::ForgetAll() {
  cache_.Clear();
  CountKeys();
}

template <class Response>
void KvProxy::Write(const CallPtr& call, const char* method, Bytes body, Writes touched,
                    Again again) {
  Forget(touched);
  UpstreamRequest request;
  request.path = StrCat("/etcdserverpb.KV/", method);
  request.body = std::move(body);
  request.metadata = MetadataFor(*call);
  request.deadline_ns = call->deadline_ns();
  request.again = again;
  parts_.upstream->Call(std::move(request), [this, call, touched = std::move(touched), again](
                                                RpcStatus status, Bytes answer) {
    // Also when it failed: it may have been done all the same.
    Forget(touched);
    if (!status.ok()) return call->Finish(std::move(status));
    if (again == Again::kIfUnsent) cache_.Wrote(HeaderOf(answer).revision());
    if (!parts_.space->IsWhole()) {
      Response response;
      if (!Parse(answer, &response)) return call->Finish(NoSuchAnswer());
      parts_.space->Leave(&response);
      answer = Serialize(response);
    }
    call->Reply(std::move(answer));
  });
}

void KvProxy::Put(const CallPtr& call, const Bytes& body) {
  etcdserverpb::PutRequest request;
  if (!ParseOrFail(*call, body, &request) || RefuseEmptyKey(*call, request.key())) return;
  Writes touched{{request.key(), ""}};
  Bytes entered = body;
  if (!parts_.space->IsWhole()) {
    request.set_key(parts_.space->Enter(request.key()));
    entered = Serialize(request);
  }
  Write<etcdserverpb::PutResponse>(call, "Put", std::move(entered), std::move(touched),
                                   Again::kIfUnsent);
}

void KvProxy::DeleteRange(const CallPtr& call, const Bytes& body) {
  etcdserverpb::DeleteRangeRequest request;
  if (!ParseOrFail(*call, body, &request) || RefuseEmptyKey(*call, request.key())) return;
  Writes touched{{request.key(), request.range_end()}};
  Bytes entered = body;
  if (!parts_.space->IsWhole()) {
    parts_.space->EnterRange(&request);
    entered = Serialize(request);
  }
  Write<etcdserverpb::DeleteRangeResponse>(call, "DeleteRange", std::move(entered),
                                           std::move(touched), Again::kIfUnsent);
}

void KvProxy::Txn(const CallPtr& call, const Bytes& body) {
  etcdserverpb::TxnRequest request;
  if (!ParseOrFail(*call, body, &request)) return;
  Writes touched;
  AddWrites(request, &touched);
  const Again again = touched.empty() ? Again::kAlways : Again::kIfUnsent;
  // A comparison that fails says that what is kept here may be old.
  for (const auto& compare : request.compare()) {
    touched.emplace_back(compare.key(), compare.range_end());
  }
  Bytes entered = body;
  if (!parts_.space->IsWhole()) {
    parts_.space->Enter(&request);
    entered = Serialize(request);
  }
  Write<etcdserverpb::TxnResponse>(call, "Txn", std::move(entered), std::move(touched), again);
}

void KvProxy::Compact(const CallPtr& call, const Bytes& body) {
  etcdserverpb::CompactionRequest request;
  if (!ParseOrFail(*call, body, &request)) return;
  Ask(call, "Compact", body, Again::kIfUnsent, [this, call, request](Bytes answer) {
    cache_.Compacted(request.revision());
    CountKeys();
    call->Reply(std::move(answer));
  });
}

}  // namespace quorate::proxy
