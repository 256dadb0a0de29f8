// Answers over HTTP/1.1 that are made while they are sent, and what their makers hear of the
// client.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "transport/raw_peer.h"
#include "transport/server.h"

namespace quorate::transport {
namespace {

using Catch::Contains;
using Catch::EndsWith;

// A server whose handler leaves every request to the test.
class HandedOut {
 public:
  HandedOut() {
    ServerOptions options;
    options.listen.push_back({"http://127.0.0.1:0", "127.0.0.1", 0});
    options.clock = &clock_;
    auto made = CreateServerTransport(
        "native", options, &services_,
        [this](HttpRequest request, std::function<void(HttpResponse)> reply) {
          const std::lock_guard lock(mutex_);
          request.exchange->Listen({[this] { Count(&writable_); }, [this] { Count(&closed_); }});
          exchange_ = request.exchange;
          reply_ = std::move(reply);
          ++asked_;
          changed_.notify_all();
        });
    REQUIRE(made.ok());
    transport_ = *std::move(made);
    REQUIRE(transport_->Bind().ok());
    transport_->Serve();
  }
  ~HandedOut() { transport_->Drain(clock_.MonotonicNs()); }

  uint16_t port() const { return transport_->ports().front(); }
  ServerTransport& transport() { return *transport_; }
  std::shared_ptr<HttpExchange> WaitAsked(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= count; });
    return exchange_;
  }
  void WaitClosed(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ >= count; });
    REQUIRE(closed_ == count);
  }
  void WaitWritable() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return writable_ > 0; });
  }
  void Reply(HttpResponse response) { reply_(std::move(response)); }

 private:
  void Count(int* what) {
    const std::lock_guard lock(mutex_);
    ++*what;
    changed_.notify_all();
  }

  SystemClock clock_;
  ServiceTable services_;
  std::unique_ptr<ServerTransport> transport_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<HttpExchange> exchange_;
  std::function<void(HttpResponse)> reply_;
  int asked_ = 0;
  int closed_ = 0;
  int writable_ = 0;
};

constexpr char kRequest[] = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";

TEST_CASE("an answer goes out in chunks, in order, and the connection stays open") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send(kRequest);
  const auto exchange = server.WaitAsked(1);
  exchange->StartBody({200, {{"Content-Type", "text/x"}}, "one"});
  exchange->Write("");  // is no end
  exchange->Write("two");
  exchange->EndBody();
  std::string text;
  while (text.find("0\r\n\r\n") == std::string::npos) text += peer.ReadSome().value();
  REQUIRE_THAT(text, Contains("Transfer-Encoding: chunked\r\n") && !Contains("Content-Length") &&
                         Contains("Content-Type: text/x\r\n") &&
                         EndsWith("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
  server.WaitClosed(1);
  exchange->Write("of no effect");
  exchange->EndBody();
  peer.Send(kRequest);
  server.WaitAsked(2);
  server.Reply({200, {}, "whole"});
  REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\nwhole"));
  server.WaitClosed(2);
}

TEST_CASE("who makes an answer hears that the client has gone") {
  HandedOut server;
  auto peer = std::make_unique<RawPeer>(server.port());
  peer->Send(kRequest);
  const auto exchange = server.WaitAsked(1);
  SECTION("in the middle of the body") {
    exchange->StartBody({200, {}, "begin"});
    std::string text;
    while (text.find("begin") == std::string::npos) text += peer->ReadSome().value();
    peer.reset();
    server.WaitClosed(1);
  }
  SECTION("before anything was said") {
    peer.reset();
    server.WaitClosed(1);
    exchange->StartBody({200, {}, "to nobody"});
  }
  exchange->Write("of no effect");
  exchange->EndBody();
}

TEST_CASE("a client that only shut its own side still gets a whole answer") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send(kRequest);
  server.WaitAsked(1);
  peer.Shutdown();
  server.WaitClosed(1);
  server.Reply({200, {}, "late"});
  REQUIRE_THAT(peer.ReadToEnd(), EndsWith("\r\n\r\nlate"));
}

TEST_CASE("what is queued for a slow client is known, and that it was taken") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send("POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  const auto exchange = server.WaitAsked(1);
  exchange->StartBody({200, {}, ""});
  // More than the sockets' buffers take.
  constexpr size_t kPieces = 400;
  const std::string piece(64 << 10, 'x');
  for (size_t i = 0; i < kPieces; ++i) exchange->Write(piece);
  REQUIRE(exchange->QueuedBytes() > 0);
  size_t received = 0;
  while (received < kPieces * piece.size()) received += peer.ReadSome().value().size();
  server.WaitWritable();
  exchange->EndBody();
  peer.ReadToEnd();
  server.WaitClosed(1);
}

TEST_CASE("a server that stops tells those who make answers") {
  HandedOut server;
  RawPeer waiting(server.port()), streaming(server.port());
  waiting.Send(kRequest);
  server.WaitAsked(1);
  streaming.Send(kRequest);
  server.WaitAsked(2)->StartBody({200, {}, "begin"});
  std::string text;
  while (text.find("begin") == std::string::npos) text += streaming.ReadSome().value();
  server.transport().Drain(0);
  server.WaitClosed(2);
}

}  // namespace
}  // namespace quorate::transport
