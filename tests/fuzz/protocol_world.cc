#include "tests/fuzz/protocol_world.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"

namespace quorate::fuzz {
namespace {

using transport::CallHandler;
using transport::Message;
using transport::Method;
using transport::RpcStatus;
using transport::ServerCall;

class EchoHandler final : public CallHandler {
 public:
  explicit EchoHandler(std::shared_ptr<ServerCall> call) : call_(std::move(call)) {}
  void OnMessage(Bytes message) override { call_->Send(Message(std::move(message))); }
  void OnHalfClose() override { call_->Finish({}); }
  void OnClosed() override {}

 private:
  const std::shared_ptr<ServerCall> call_;
};

}  // namespace

ProtocolWorld::ProtocolWorld() : loop_(&clock_) {
  services_.Add({"/f.E/U",
                 Method::Kind::kUnary,
                 [](std::shared_ptr<ServerCall> call, Bytes request) {
                   call->Reply(Message(std::move(request)));
                 },
                 {}});
  services_.Add({"/f.E/S",
                 Method::Kind::kServerStream,
                 [](std::shared_ptr<ServerCall> call, Bytes request) {
                   call->Send(Message(request));
                   call->Send(Message(std::move(request)));
                   call->Finish({});
                 },
                 {}});
  services_.Add({"/f.E/B", Method::Kind::kBidi, {}, [](std::shared_ptr<ServerCall> call) {
                   return std::make_unique<EchoHandler>(std::move(call));
                 }});
  http_ = [](transport::HttpRequest request,
             const std::function<void(transport::HttpResponse)>& reply) {
    reply({200, {{"content-type", "text/plain"}}, std::move(request.body)});
  };
  options_.receive_message_bytes_max = 1 << 16;
  options_.http_body_bytes_max = 1 << 16;
  options_.max_concurrent_streams = 16;
  options_.clock = &clock_;
  context_ = {&options_, &services_, &http_, &loop_, &counters_, {}};
  auto peer = std::make_shared<transport::PeerInfo>();
  peer->name = "127.0.0.1:1";
  peer->mailbox = std::make_shared<transport::Mailbox>(&loop_, [] {});
  transport::Mailbox::OfThisThread() = peer->mailbox.get();
  peer_ = std::move(peer);
}

ProtocolWorld::~ProtocolWorld() {
  peer_->mailbox->Close();
  transport::Mailbox::OfThisThread() = nullptr;
}

void ProtocolWorld::Run(transport::Protocol* protocol, std::string_view bytes, size_t piece_bytes) {
  aborted_ = false;
  sent_bytes_ = 0;
  auto verdict = transport::Protocol::Verdict::kContinue;
  while (!bytes.empty() && !aborted_ && !protocol->Finished() &&
         verdict == transport::Protocol::Verdict::kContinue) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    verdict = protocol->Receive(piece);
    transport::OutputBuffer out;
    protocol->Pull(&out, 64 << 10);
    sent_bytes_ += out.size();
  }
  if (bytes.empty() && !aborted_) protocol->OnPeerClosed();
  transport::OutputBuffer out;
  protocol->Pull(&out, 1 << 20);
  protocol->OnLost();
  QR_CHECK_MSG(counters_.streams.load() == 0, "a stream outlived its connection");
}

}  // namespace quorate::fuzz
