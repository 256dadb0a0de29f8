// A server for the tests of clients: each method is a function of the test.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "base/text.h"
#include "transport/server.h"

namespace quorate::ctl {

class FakeServer {
 public:
  using Unary = std::function<void(transport::ServerCall* call, const Bytes& request)>;
  // Called for each message of a stream; the call may be answered and finished.
  using MessageFunction = std::function<void(transport::ServerCall* call, const Bytes& message)>;

  FakeServer& Answer(std::string path, Unary unary) {
    transport::Method method;
    method.path = std::move(path);
    method.unary = [unary](const std::shared_ptr<transport::ServerCall>& call,
                           const Bytes& request) { unary(call.get(), request); };
    table_.Add(std::move(method));
    return *this;
  }

  FakeServer& Stream(std::string path, MessageFunction on_message) {
    transport::Method method;
    method.path = std::move(path);
    method.kind = transport::Method::Kind::kBidi;
    method.bidi = [on_message](std::shared_ptr<transport::ServerCall> call) {
      return std::make_unique<Handler>(std::move(call), on_message);
    };
    table_.Add(std::move(method));
    return *this;
  }

  // After all methods are there.
  void Start() {
    transport::ServerOptions options;
    options.listen.push_back({"http://127.0.0.1:0", "127.0.0.1", 0});
    options.clock = &clock_;
    transport_ = *transport::CreateServerTransport("native", options, &table_, nullptr);
    QR_CHECK(transport_->Bind().ok());
    transport_->Serve();
  }
  std::string endpoint() const { return StrCat("127.0.0.1:", transport_->ports().front()); }

 private:
  class Handler final : public transport::CallHandler {
   public:
    Handler(std::shared_ptr<transport::ServerCall> call, MessageFunction on_message)
        : call_(std::move(call)), on_message_(std::move(on_message)) {}
    void OnMessage(Bytes message) override { on_message_(call_.get(), message); }
    void OnHalfClose() override { call_->Finish({}); }
    void OnClosed() override {}

   private:
    const std::shared_ptr<transport::ServerCall> call_;
    const MessageFunction on_message_;
  };

  SystemClock clock_;
  transport::ServiceTable table_;
  std::unique_ptr<transport::ServerTransport> transport_;
};

}  // namespace quorate::ctl
