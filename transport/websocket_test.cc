// WebSockets: the handshake, frames in pieces of every size, what breaks the rules, and an exchange
// over one.
#include "transport/websocket.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace quorate::transport {
namespace {

HttpRequest Upgrade() {
  HttpRequest request;
  request.method = "GET";
  request.headers = {{"connection", "keep-alive, Upgrade"},
                     {"upgrade", "WebSocket"},
                     {"sec-websocket-version", "13"},
                     {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  return request;
}

std::string FieldOf(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

// As a client sends it, under the mask "mask".
std::string Masked(uint8_t first, std::string_view payload) {
  std::string frame;
  AppendWebSocketFrame(WebSocketOpcode::kText, payload, &frame);
  frame[0] = static_cast<char>(first);
  frame[1] = static_cast<char>(frame[1] | 0x80);
  const size_t head = frame.size() - payload.size();
  std::string masked = frame.substr(0, head) + "mask";
  for (size_t i = 0; i < payload.size(); ++i) {
    masked.push_back(static_cast<char>(payload[i] ^ "mask"[i % 4]));
  }
  return masked;
}

constexpr uint8_t kText = 0x81;
constexpr uint8_t kFirst = 0x01;
constexpr uint8_t kLast = 0x80;
constexpr uint8_t kClose = 0x88;
constexpr uint8_t kPing = 0x89;

// What an exchange made of the bytes: the request's body, what was said back, and whether it is
// over.
struct Heard {
  std::string body;
  std::string said;
  bool over = false;
};

Heard Hear(std::string_view bytes, size_t piece_bytes) {
  Heard heard;
  WebSocketExchange exchange;
  while (!bytes.empty() && !heard.over) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    heard.over = exchange.Receive(
                     piece, [&](std::string_view part) { heard.body.append(part); }, &heard.said) ==
                 WebSocketExchange::Verdict::kOver;
  }
  return heard;
}

std::string CloseFrame(uint16_t code, std::string_view text) {
  std::string frame;
  std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  AppendWebSocketFrame(WebSocketOpcode::kClose, payload.append(text), &frame);
  return frame;
}

TEST_CASE("a handshake is answered with the proof of RFC 6455, a bad one refused") {
  HttpRequest request = Upgrade();
  REQUIRE(AsksForWebSocket(request));
  HttpResponse answer = AnswerWebSocket(request);
  REQUIRE(answer.status == 101);
  REQUIRE(FieldOf(answer, "Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  REQUIRE(FieldOf(answer, "Sec-WebSocket-Protocol") == "(none)");
  request.headers.emplace_back("sec-websocket-protocol", "Bearer, token");
  REQUIRE(FieldOf(AnswerWebSocket(request), "Sec-WebSocket-Protocol") == "Bearer");

  const auto status_with = [](size_t field, std::string value) {
    HttpRequest changed = Upgrade();
    changed.headers[field].second = std::move(value);
    REQUIRE(AsksForWebSocket(changed));
    const HttpResponse refusal = AnswerWebSocket(changed);
    REQUIRE(FieldOf(refusal, "Sec-Websocket-Version") == "13");
    return refusal.status;
  };
  REQUIRE(status_with(2, "8") == 400);
  REQUIRE(status_with(3, "") == 400);
  REQUIRE(status_with(3, "short") == 400);
  REQUIRE(status_with(3, "dGhlIHNhbXBsZSBub25jZQ=") == 400);
  request.method = "POST";
  REQUIRE(AnswerWebSocket(request).status == 405);
  request.headers[1].second = "h2c";
  REQUIRE_FALSE(AsksForWebSocket(request));
}

TEST_CASE("messages become the body in pieces of any size; pings come back") {
  const std::string large(70'000, 'x');
  const std::string bytes = Masked(kText, "one") + Masked(kFirst, "two ") + Masked(kPing, "hi") +
                            Masked(0x00, "") + Masked(kLast, "halves") + Masked(kText, "") +
                            Masked(0x82, large) + Masked(0x8a, "unasked") + Masked(kText, "end");
  for (const size_t piece_bytes : {1, 2, 3, 7, 1000, 1 << 20}) {
    const Heard heard = Hear(bytes, piece_bytes);
    REQUIRE(heard.body == "one\ntwo halves\n\n" + large + "\nend\n");
    REQUIRE(heard.said == "\x8a\x02hi");
    REQUIRE_FALSE(heard.over);
  }
}

TEST_CASE("a close is answered in kind, broken rules with 1002 and what they are") {
  const auto said = [](const std::string& bytes) {
    const Heard heard = Hear(bytes + Masked(kText, "ignored"), 1);
    REQUIRE(heard.over);
    REQUIRE(heard.body.empty());
    return heard.said;
  };
  REQUIRE(said(Masked(kClose,
                      "\x03\xe8"
                      "bye")) == CloseFrame(1000, ""));
  REQUIRE(said(Masked(kClose, "")) == std::string("\x88\0", 2));
  REQUIRE(said(Masked(kClose, "\x03")) == std::string("\x88\0", 2));
  REQUIRE(said(Masked(kClose, "\x03\xed")) == CloseFrame(1002, "bad close code 1005"));
  REQUIRE(said("\x81\x02{}") == CloseFrame(1002, "bad MASK"));
  REQUIRE(said(Masked(0xf1, "")) == CloseFrame(1002, "RSV1 set, RSV2 set, RSV3 set"));
  REQUIRE(said(Masked(0x83, "")) == CloseFrame(1002, "bad opcode 3"));
  REQUIRE(said(Masked(kLast, "")) == CloseFrame(1002, "continuation after FIN"));
  REQUIRE(said(Masked(kFirst, "") + Masked(kText, "")) == CloseFrame(1002, "data before FIN"));
  REQUIRE(said(Masked(0x09, "")) == CloseFrame(1002, "FIN not set on control"));
  REQUIRE(said(Masked(kPing, std::string(126, 'p'))) == CloseFrame(1002, "len > 125 for control"));
  REQUIRE(said(std::string("\x82\xff\x80", 3) + std::string(11, '\0')) ==
          CloseFrame(1002, "bad length"));
}

TEST_CASE("each line of an answer is a message, however it is cut") {
  std::string out;
  WebSocketExchange exchange;
  exchange.Write("one\ntw", &out);
  exchange.Write("o\n\n", &out);
  exchange.Write("last", &out);
  REQUIRE(out == "\x81\x03one\x81\x03two");
  exchange.End(&out);
  exchange.End(&out);
  REQUIRE(out == "\x81\x03one\x81\x03two\x81\x04last");
}

}  // namespace
}  // namespace quorate::transport
