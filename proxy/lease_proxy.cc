#include "proxy/lease_proxy.h"

#include <utility>

#include "proxy/requests.h"

namespace quorate::proxy {

using transport::Method;
using transport::RpcStatus;

namespace {

constexpr char kTimeToLivePath[] = "/etcdserverpb.Lease/LeaseTimeToLive";
// Sets of metadata: one for each token of late.
constexpr size_t kStreamsMax = 64;

class ClientKeepAlives final : public CarriedCall {
 public:
  ClientKeepAlives(LeaseProxy* proxy, CallPtr call) : proxy_(proxy), call_(std::move(call)) {}

  void Received(Bytes message) override {
    etcdserverpb::LeaseKeepAliveRequest request;
    if (!ParseOrFail(*call_, message, &request)) return;
    // Looked up each time: those that nobody waits for are not kept.
    KeepAlives* const keep_alives = proxy_->KeepAlivesFor(MetadataFor(*call_));
    used_ = keep_alives;
    ++open_;
    keep_alives->Renew(
        request.id(), this,
        [this](const etcdserverpb::LeaseKeepAliveResponse& response) {
          call_->Send(transport::Message(Serialize(response)));
          Answered();
        },
        [this](const RpcStatus& status) {
          open_ = 0;
          call_->Finish(status);
        });
  }
  void HalfClosed() override {
    half_closed_ = true;
    if (open_ == 0) call_->Finish({});
  }
  void Ended() override {
    if (open_ > 0) used_->Leave(this);
  }

 private:
  void Answered() {
    if (--open_ == 0 && half_closed_) call_->Finish({});
  }

  LeaseProxy* const proxy_;
  const CallPtr call_;
  KeepAlives* used_ = nullptr;  // valid while requests are open
  size_t open_ = 0;
  bool half_closed_ = false;
};

}  // namespace

KeepAlives* LeaseProxy::KeepAlivesFor(const transport::MetadataList& metadata) {
  if (keep_alives_.size() > kStreamsMax) {
    std::erase_if(keep_alives_, [](const auto& item) { return item.second->idle(); });
  }
  std::unique_ptr<KeepAlives>& keep_alives = keep_alives_[metadata];
  if (keep_alives == nullptr) keep_alives = std::make_unique<KeepAlives>(upstream_, metadata);
  return keep_alives.get();
}

void LeaseProxy::TimeToLive(const CallPtr& call, const Bytes& body) const {
  UpstreamRequest request;
  request.path = kTimeToLivePath;
  request.body = body;
  request.metadata = MetadataFor(*call);
  request.deadline_ns = call->deadline_ns();
  request.again = UpstreamRequest::Again::kAlways;
  upstream_->Call(std::move(request), [this, call](RpcStatus status, Bytes answer) {
    if (!status.ok()) return call->Finish(std::move(status));
    if (!space_->IsWhole()) {
      etcdserverpb::LeaseTimeToLiveResponse response;
      if (!Parse(answer, &response)) return call->Finish(NoSuchAnswer());
      space_->Leave(&response);
      answer = Serialize(response);
    }
    call->Reply(std::move(answer));
  });
}

void LeaseProxy::AddTo(transport::ServiceTable* table) {
  Method time_to_live;
  time_to_live.path = kTimeToLivePath;
  time_to_live.unary = [this](CallPtr call, Bytes body) {
    upstream_->loop()->Post(
        [this, call = std::move(call), body = std::move(body)] { TimeToLive(call, body); });
  };
  table->Add(std::move(time_to_live));
  Method keep_alive;
  keep_alive.path = "/etcdserverpb.Lease/LeaseKeepAlive";
  keep_alive.kind = Method::Kind::kBidi;
  keep_alive.bidi = [this](CallPtr call) {
    return std::make_unique<Carrier>(upstream_->loop(),
                                     std::make_shared<ClientKeepAlives>(this, std::move(call)));
  };
  table->Add(std::move(keep_alive));
}

}  // namespace quorate::proxy
