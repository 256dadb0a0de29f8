#include "transport/websocket.h"

#include <openssl/sha.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "transport/http1_response.h"

namespace quorate::transport {
namespace {

constexpr std::string_view kVersion = "13";
constexpr size_t kKeyBytes = 16;
constexpr size_t kMaskBytes = 4;
constexpr size_t kControlBytesMax = 125;
constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kLengthBits = 0x7f;
constexpr uint8_t kLength16 = 126;
constexpr uint8_t kLength64 = 127;

constexpr uint16_t kProtocolError = 1002;

uint8_t Octet(char c) { return static_cast<uint8_t>(c); }

// Whether any field of this name lists the token, letter case aside.
bool Lists(const HttpRequest& request, std::string_view name, std::string_view token) {
  for (const auto& [key, value] : request.headers) {
    if (key != name) continue;
    for (const absl::string_view item : absl::StrSplit(value, ',')) {
      if (absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(item),
                                 absl::string_view(token.data(), token.size()))) {
        return true;
      }
    }
  }
  return false;
}

HttpResponse Refusal(int status) {
  HttpResponse response = PlainTextResponse(status, HttpReason(status));
  response.headers.emplace_back("Sec-Websocket-Version", kVersion);
  return response;
}

// RFC 6455 §4.2.2: what proves that the handshake was understood.
std::string AcceptOf(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

// RFC 6455 §7.4: codes that an endpoint may name.
bool CloseCodeAllowed(uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1013) ||
         (code >= 3000 && code <= 4999);
}

std::string BigEndian(uint64_t value, size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = bytes; i-- > 0; value >>= 8) text[i] = static_cast<char>(value & 0xff);
  return text;
}

}  // namespace

bool AsksForWebSocket(const HttpRequest& request) {
  return Lists(request, "connection", "upgrade") && Lists(request, "upgrade", "websocket");
}

HttpResponse AnswerWebSocket(const HttpRequest& request) {
  if (request.method != "GET") return Refusal(405);
  if (!Lists(request, "sec-websocket-version", kVersion)) return Refusal(400);
  const std::string key(request.Header("sec-websocket-key").value_or(""));
  std::string decoded;
  if (!absl::Base64Unescape(key, &decoded) || decoded.size() != kKeyBytes) return Refusal(400);
  HttpResponse response{101,
                        {{"Upgrade", "websocket"},
                         {"Connection", "Upgrade"},
                         {"Sec-WebSocket-Accept", AcceptOf(key)}},
                        ""};
  constexpr std::string_view kBearer = "Bearer";
  if (request.Header("sec-websocket-protocol").value_or("").starts_with(kBearer)) {
    response.headers.emplace_back("Sec-WebSocket-Protocol", kBearer);
  }
  return response;
}

void AppendWebSocketFrame(WebSocketOpcode opcode, std::string_view payload, std::string* out) {
  out->push_back(static_cast<char>(kFinal | static_cast<uint8_t>(opcode)));
  if (payload.size() < kLength16) {
    out->push_back(static_cast<char>(payload.size()));
  } else if (payload.size() <= UINT16_MAX) {
    out->push_back(static_cast<char>(kLength16));
    out->append(BigEndian(payload.size(), 2));
  } else {
    out->push_back(static_cast<char>(kLength64));
    out->append(BigEndian(payload.size(), 8));
  }
  out->append(payload);
}

// --- frames

WebSocketFrames::Result WebSocketFrames::Next(std::string_view* data) {
  if (std::exchange(data_end_, false)) return OnFrameEnd();
  while (!in_payload_) {
    const size_t wanted = HeadBytes();
    const size_t taken = std::min(wanted - head_.size(), data->size());
    head_.append(data->substr(0, taken));
    data->remove_prefix(taken);
    if (head_.size() < wanted) return Result::kNeedMore;
    if (wanted > 2) {
      OnHead();
    } else if (const std::string broken = Broken(); !broken.empty()) {
      return Fail(broken);
    }
  }
  if (left_ > INT64_MAX) return Fail("bad length");
  if (!IsControl()) payload_.clear();
  const size_t taken = std::min<uint64_t>(left_, data->size());
  const std::string_view mask = std::string_view(head_).substr(head_.size() - kMaskBytes);
  for (const char c : data->substr(0, taken)) {
    payload_.push_back(static_cast<char>(Octet(c) ^ Octet(mask[masked_++ % kMaskBytes])));
  }
  data->remove_prefix(taken);
  left_ -= taken;
  if (left_ > 0) return taken > 0 && !IsControl() ? Result::kData : Result::kNeedMore;
  if (taken == 0 || IsControl()) return OnFrameEnd();
  data_end_ = true;
  return Result::kData;
}

std::string WebSocketFrames::Broken() const {
  const uint8_t first = Octet(head_[0]);
  const uint8_t second = Octet(head_[1]);
  const bool final = (first & kFinal) != 0;
  std::vector<std::string> broken;
  for (const int bit : {1, 2, 3}) {
    if ((first & (kFinal >> bit)) != 0) broken.push_back("RSV" + std::to_string(bit) + " set");
  }
  const uint8_t opcode = first & 0x0f;
  switch (static_cast<WebSocketOpcode>(opcode)) {
    case WebSocketOpcode::kClose:
    case WebSocketOpcode::kPing:
    case WebSocketOpcode::kPong:
      if ((second & kLengthBits) > kControlBytesMax) broken.emplace_back("len > 125 for control");
      if (!final) broken.emplace_back("FIN not set on control");
      break;
    case WebSocketOpcode::kText:
    case WebSocketOpcode::kBinary:
      if (in_message_) broken.emplace_back("data before FIN");
      break;
    case WebSocketOpcode::kContinuation:
      if (!in_message_) broken.emplace_back("continuation after FIN");
      break;
    default:
      broken.push_back("bad opcode " + std::to_string(opcode));
  }
  if ((second & kMasked) == 0) broken.emplace_back("bad MASK");
  return absl::StrJoin(broken, ", ");
}

size_t WebSocketFrames::HeadBytes() const {
  if (head_.size() < 2) return 2;
  const uint8_t length = Octet(head_[1]) & kLengthBits;
  return 2 + (length == kLength64 ? 8 : length == kLength16 ? 2 : 0) + kMaskBytes;
}

void WebSocketFrames::OnHead() {
  in_payload_ = true;
  masked_ = 0;
  payload_.clear();
  left_ = Octet(head_[1]) & kLengthBits;
  const std::string_view extended =
      std::string_view(head_).substr(2, head_.size() - 2 - kMaskBytes);
  if (!extended.empty()) left_ = 0;
  for (const char c : extended) left_ = left_ << 8 | Octet(c);
  if (!IsControl()) in_message_ = (Octet(head_[0]) & kFinal) == 0;
}

WebSocketFrames::Result WebSocketFrames::OnFrameEnd() {
  const auto opcode = static_cast<WebSocketOpcode>(head_[0] & 0x0f);
  const bool control = IsControl();
  head_.clear();
  in_payload_ = false;
  if (opcode == WebSocketOpcode::kPing) return Result::kPing;
  if (opcode == WebSocketOpcode::kClose) return OnCloseFrame();
  // A pong, or one part of several, is nothing to be told of.
  payload_.clear();
  return control || in_message_ ? Result::kData : Result::kMessageEnd;
}

WebSocketFrames::Result WebSocketFrames::OnCloseFrame() {
  if (payload_.size() < 2) {
    payload_.clear();
    return Result::kClose;
  }
  const auto code = static_cast<uint16_t>(Octet(payload_[0]) << 8 | Octet(payload_[1]));
  if (!CloseCodeAllowed(code)) return Fail("bad close code " + std::to_string(code));
  payload_.resize(2);
  return Result::kClose;
}

WebSocketFrames::Result WebSocketFrames::Fail(std::string_view why) {
  payload_ = BigEndian(kProtocolError, 2).append(why);
  payload_.resize(std::min(payload_.size(), kControlBytesMax));
  return Result::kClose;
}

// --- the exchange

WebSocketExchange::Verdict WebSocketExchange::Receive(
    std::string_view bytes, const std::function<void(std::string_view)>& body, std::string* out) {
  for (;;) {
    switch (frames_.Next(&bytes)) {
      case WebSocketFrames::Result::kNeedMore:
        return Verdict::kGoesOn;
      case WebSocketFrames::Result::kData:
        if (!frames_.payload().empty()) body(frames_.payload());
        break;
      case WebSocketFrames::Result::kMessageEnd:
        body("\n");
        break;
      case WebSocketFrames::Result::kPing:
        AppendWebSocketFrame(WebSocketOpcode::kPong, frames_.payload(), out);
        break;
      case WebSocketFrames::Result::kClose:
        AppendWebSocketFrame(WebSocketOpcode::kClose, frames_.payload(), out);
        return Verdict::kOver;
    }
  }
}

void WebSocketExchange::Write(std::string_view piece, std::string* out) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    if (end == std::string_view::npos) {
      line_.append(piece);
      return;
    }
    if (line_.empty()) {
      if (end > 0) AppendWebSocketFrame(WebSocketOpcode::kText, piece.substr(0, end), out);
    } else {
      line_.append(piece.substr(0, end));
      AppendWebSocketFrame(WebSocketOpcode::kText, line_, out);
      line_.clear();
    }
    piece.remove_prefix(end + 1);
  }
}

void WebSocketExchange::End(std::string* out) {
  if (!line_.empty()) AppendWebSocketFrame(WebSocketOpcode::kText, line_, out);
  line_.clear();
}

}  // namespace quorate::transport
