// CarriedCall: a call of a client's whose events are carried to the proxy's loop, where everything
// that the proxy knows lives.
#pragma once

#include <memory>
#include <utility>

#include "proxy/upstream.h"
#include "transport/event_loop.h"
#include "transport/rpc.h"

namespace quorate::proxy {

using CallPtr = std::shared_ptr<transport::ServerCall>;

// What of a client's metadata the members have to see: who calls, and whether he insists on a
// leader.
inline transport::MetadataList MetadataFor(const transport::ServerCall& call) {
  transport::MetadataList list;
  for (const char* name : {"token", "authorization", "hasleader"}) {
    if (auto value = call.Metadata(name); value.has_value()) list.emplace_back(name, *value);
  }
  return list;
}

// Above that many bytes queued for a client, the proxy waits for it.
inline constexpr size_t kQueuedBytesMax = 1 << 20;

// All on the loop thread, in order. Kept alive until Ended was called.
class CarriedCall : public std::enable_shared_from_this<CarriedCall> {
 public:
  virtual ~CarriedCall() = default;
  virtual void Received(Bytes message) = 0;
  virtual void HalfClosed() {}
  virtual void Writable() {}  // as CallHandler::OnWritable
  virtual void Ended() = 0;
};

// The handler of a call, for the transport.
class Carrier final : public transport::CallHandler {
 public:
  Carrier(transport::EventLoop* loop, std::shared_ptr<CarriedCall> call)
      : loop_(loop), call_(std::move(call)) {}
  void OnMessage(Bytes message) override {
    loop_->Post([call = call_, message = std::move(message)] { call->Received(message); });
  }
  void OnHalfClose() override {
    loop_->Post([call = call_] { call->HalfClosed(); });
  }
  void OnWritable() override {
    loop_->Post([call = call_] { call->Writable(); });
  }
  void OnClosed() override {
    loop_->Post([call = std::move(call_)] { call->Ended(); });
  }

 private:
  transport::EventLoop* const loop_;
  std::shared_ptr<CarriedCall> call_;
};

}  // namespace quorate::proxy
