// Http1Parser: HTTP/1.0 and 1.1 requests (or a client's answers) out of a run of bytes that comes
// in pieces. Strict where leniency has been used for request smuggling (RFC 9112): one length, no
// folded lines, no blanks before the colon. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "transport/server.h"

namespace quorate::transport {

// Sets path and query of a request whose method is known. False when the target is malformed.
bool ParseHttpTarget(std::string_view target, HttpRequest* request);

class Http1Parser {
 public:
  static constexpr size_t kHeadBytesMax = 64 * 1024;

  enum class Kind : uint8_t { kRequests, kAnswers };
  // kStreamed: bodies have no limit and are handed on as they come (kHead, kBody).
  enum class Bodies : uint8_t { kWhole, kStreamed };

  explicit Http1Parser(uint64_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}
  static Http1Parser Streamed(Kind kind) { return Http1Parser(kind, Bodies::kStreamed); }

  enum class Result {
    kNeedMore,
    kContinue,  // the client waits for "100 Continue" before it sends the body; call again
    kHead,      // streamed: all of request() but its body
    kBody,      // streamed: body() is its next piece, until the next call
    kRequest,   // request() (or the answer) is complete
    kError,     // error_status() says why; nothing after it can be understood
  };
  // Takes from the front of *data.
  Result Next(std::string_view* data);

  HttpRequest& request() { return request_; }
  int status() const { return status_; }  // of an answer; its fields are request().headers
  std::string_view body() const { return body_; }
  bool keep_alive() const { return keep_alive_; }
  // The client waits for "100 Continue" (streamed: after kHead).
  bool expects_continue() const { return expect_continue_; }
  int error_status() const { return error_status_; }
  // Inside a request: some of it has come.
  bool started() const { return state_ != State::kHead || !line_.empty(); }

 private:
  enum class State { kHead, kBody, kChunkSize, kChunk, kChunkEnd, kTrailer };

  Http1Parser(Kind kind, Bodies bodies)
      : body_bytes_max_(UINT64_MAX), kind_(kind), bodies_(bodies) {}

  Result Fail(int status);
  Result OnHead();
  Result TakeBody(std::string_view* data);
  bool ParseFirstLine(std::string_view line);
  bool ParseStatusLine(std::string_view line);
  bool ParseRequestLine(std::string_view line);
  bool ParseField(std::string_view line);
  int ReadFraming();
  Result OnChunkLine(std::string_view* data);
  Result Complete();
  // Moves one line, without its end, from *data to *line once it is whole.
  enum class Line { kWhole, kPartial, kTooLong };
  Line TakeLine(std::string_view* data);

  const uint64_t body_bytes_max_;
  const Kind kind_ = Kind::kRequests;
  const Bodies bodies_ = Bodies::kWhole;
  int status_ = 0;
  std::string_view body_;
  State state_ = State::kHead;
  std::string line_;
  size_t head_bytes_ = 0;
  bool have_request_line_ = false;
  bool complete_ = false;
  HttpRequest request_;
  bool keep_alive_ = true;
  bool http_1_0_ = false;
  bool expect_continue_ = false;
  uint64_t left_ = 0;  // of the body or chunk
  int error_status_ = 0;
};

}  // namespace quorate::transport
