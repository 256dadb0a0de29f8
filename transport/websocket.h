// WebSockets (RFC 6455), the server's side of them: the handshake, the client's frames, and how a
// request and its answer go over one. Refusals and the words of errors are those of the library
// that etcd uses; extensions and subprotocols beside `Bearer` are none. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "transport/server.h"

namespace quorate::transport {

// The client wants the connection to become a websocket.
bool AsksForWebSocket(const HttpRequest& request);
// What it hears: 101, or a refusal.
HttpResponse AnswerWebSocket(const HttpRequest& request);

enum class WebSocketOpcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10
};
// Unmasked and whole, as servers send.
void AppendWebSocketFrame(WebSocketOpcode opcode, std::string_view payload, std::string* out);

// A client's frames out of bytes that come in pieces. Payloads are handed on as they come: what
// it holds is bounded by a header and the 125 bytes of a control frame.
class WebSocketFrames {
 public:
  enum class Result : uint8_t {
    kNeedMore,
    kData,        // payload() is the next piece of a text or binary message
    kMessageEnd,  // it is complete
    kPing,        // payload() wants to be sent back
    kClose,       // payload() is what to close with, in answer or for broken rules
  };
  // Takes from the front of *data. Nothing comes after kClose.
  Result Next(std::string_view* data);
  std::string_view payload() const { return payload_; }

 private:
  // The first two bytes are there: what they break, in words.
  std::string Broken() const;
  size_t HeadBytes() const;
  // All of the header is there.
  void OnHead();
  Result OnFrameEnd();
  Result OnCloseFrame();
  Result Fail(std::string_view why);
  bool IsControl() const { return (head_[0] & 8) != 0; }

  std::string head_;         // of the frame under way, as far as it has come
  bool in_payload_ = false;  // the header is complete
  uint64_t left_ = 0;        // of the payload
  size_t masked_ = 0;        // bytes of it that are unmasked
  bool in_message_ = false;  // the frames so far lack the last one
  bool data_end_ = false;    // a frame ended whose last piece was handed on
  std::string payload_;
};

// An HTTP exchange over a websocket, as etcd's proxy has it: each message of the client and a line
// end are part of the request's body; each line of the answer's body is a text message.
class WebSocketExchange {
 public:
  enum class Verdict : uint8_t { kGoesOn, kOver };
  // Takes the client's bytes. What has to be said at once is added to *out.
  Verdict Receive(std::string_view bytes, const std::function<void(std::string_view)>& body,
                  std::string* out);
  void Write(std::string_view piece, std::string* out);
  // The answer is complete: a last line may lack its end.
  void End(std::string* out);

 private:
  WebSocketFrames frames_;
  std::string line_;  // its end has not been written
};

}  // namespace quorate::transport
