// Answers over HTTP/1.1 that are made while they are sent, and what their makers hear of the
// client.
#include <sys/socket.h>
#include <sys/time.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "transport/raw_peer.h"
#include "transport/server.h"
#include "transport/websocket.h"

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
          HttpExchange::Events events{[this] { Count(&writable_); }, [this] { Count(&closed_); }};
          if (AsksForWebSocket(request)) {
            request.exchange->SpeakWebSocket(AnswerWebSocket(request));
            events.body = [this](std::string_view piece) {
              const std::lock_guard listening(mutex_);
              body_ += piece;
              changed_.notify_all();
            };
          }
          if (deadline_after_ns_ != 0) {
            events.deadline = [this] { Count(&deadlines_); };
            events.deadline_ns = clock_.MonotonicNs() + deadline_after_ns_;
          }
          request.exchange->Listen(std::move(events));
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
  void WaitBody(std::string_view body) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return body_ == body; });
  }
  void WaitDeadline() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return deadlines_ > 0; });
  }
  void SetDeadline(int64_t after_ns) { deadline_after_ns_ = after_ns; }
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
  int deadlines_ = 0;
  int64_t deadline_after_ns_ = 0;
  std::string body_;
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

TEST_CASE("a deadline passes while an answer is made, and means nothing once it was given") {
  HandedOut server;
  RawPeer peer(server.port());
  server.SetDeadline(kNanosPerMilli);
  peer.Send(kRequest);
  server.WaitAsked(1);
  server.WaitDeadline();
  server.Reply({504, {}, "late"});
  REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\nlate"));
  server.SetDeadline(3600 * kNanosPerSecond);
  peer.Send(kRequest);
  server.WaitAsked(2);
  server.Reply({200, {}, "early"});
  REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\nearly"));
}

constexpr char kUpgrade[] =
    "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kHi("\x81\x82\0\0\0\0hi", 8);

std::string ReadUntil(RawPeer* peer, std::string_view end) {
  std::string text;
  while (!text.ends_with(end)) text += peer->ReadSome().value();
  return text;
}

TEST_CASE("a websocket carries the body in messages and the answer in lines") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send(std::string(kUpgrade).append(kHi));
  const auto exchange = server.WaitAsked(1);
  server.WaitBody("hi\n");
  REQUIRE_THAT(ReadUntil(&peer, "\r\n\r\n"),
               Contains("HTTP/1.1 101 Switching Protocols\r\n") && !Contains("Content-Length"));
  exchange->StartBody({400, {{"Content-Type", "of no interest"}}, "one\n"});
  REQUIRE(ReadUntil(&peer, "one") == "\x81\x03one");
  peer.Send(kHi);
  server.WaitBody("hi\nhi\n");
  SECTION("until the server has no more") {
    exchange->Write("two");
    exchange->EndBody();
    REQUIRE(peer.ReadToEnd() == "\x81\x03two");
  }
  SECTION("until the client closes it") {
    peer.Send(std::string_view("\x88\x80\0\0\0\0", 6));
    REQUIRE(peer.ReadToEnd() == std::string("\x88\0", 2));
  }
  SECTION("until the client goes") { peer.Reset(); }
  SECTION("until the server stops") {
    server.transport().Drain(0);
    REQUIRE(peer.ReadToEnd().empty());
  }
  server.WaitClosed(1);
}

TEST_CASE("a whole answer closes a websocket") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send(kUpgrade);
  server.WaitAsked(1);
  ReadUntil(&peer, "\r\n\r\n");
  server.Reply({404, {}, "nothing"});
  REQUIRE(peer.ReadToEnd() == "\x81\x07nothing");
  server.WaitClosed(1);
}

TEST_CASE("pings of a client that does not read have an end") {
  HandedOut server;
  RawPeer peer(server.port());
  peer.Send(kUpgrade);
  server.WaitAsked(1);
  std::string pings;
  for (int i = 0; i < 100; ++i) pings += std::string("\x89\xfd\0\0\0\0", 6) + std::string(125, 'p');
  // Once the buffers of both sockets and what the server keeps are full, nothing more is taken.
  const timeval limit{0, 500'000};
  setsockopt(peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  constexpr size_t kEnough = size_t{256} << 20;
  size_t sent = 0;
  while (sent < kEnough && peer.Send(pings)) sent += pings.size();
  REQUIRE(sent < kEnough);
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
