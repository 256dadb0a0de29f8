#include "tests/fuzz/protocol_world.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "transport/websocket.h"

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

// Answers with what comes, while it comes.
void Echo(const std::shared_ptr<transport::HttpExchange>& exchange) {
  // Whoever listens is kept by the exchange.
  const std::weak_ptr<transport::HttpExchange> weak = exchange;
  transport::HttpExchange::Events events;
  events.body = [weak](std::string_view piece) {
    if (const auto open = weak.lock()) open->Write(std::string(piece));
  };
  events.body_end = [weak] {
    if (const auto open = weak.lock()) open->EndBody();
  };
  exchange->Listen(std::move(events));
  exchange->StartBody({200, {}, ""});
}

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
    if (transport::AsksForWebSocket(request)) {
      transport::HttpResponse answer = transport::AnswerWebSocket(request);
      if (answer.status != 101) return reply(std::move(answer));
      request.exchange->SpeakWebSocket(std::move(answer));
      request.body_follows = true;
    }
    if (request.body_follows) return Echo(request.exchange);
    reply({200, {{"content-type", "text/plain"}}, std::move(request.body)});
  };
  options_.http_conversations = [](std::string_view path) { return path == "/c"; };
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
