// RawPeer: a client that speaks bytes, for tests of what no well-behaved client sends. Frames and
// header blocks are made by hand (RFC 9113, RFC 7541 literals without indexing). One thread.
#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quorate::transport {

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9
};
enum FrameFlag : uint8_t { kNoFlags = 0, kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8 };

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
  uint32_t Word(size_t offset) const;  // big-endian
};

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

// Unpadded, as it stands on the wire.
std::string EncodeFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
std::string EncodeHeaders(const HeaderFields& fields);
HeaderFields GrpcRequestFields(std::string_view path);
// The gRPC prefix and the bytes.
std::string GrpcMessage(std::string_view body);
std::string BigEndian32(uint32_t value);

class RawPeer {
 public:
  explicit RawPeer(uint16_t port);
  // Without TLS, whatever is spoken there.
  enum class Layer : uint8_t { kPlain, kAsSpoken };
  RawPeer(uint16_t port, Layer layer);
  ~RawPeer();
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  int fd() const { return fd_; }
  // False when the connection no longer takes bytes.
  bool Send(std::string_view bytes);
  bool SendFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
  // Preface, SETTINGS, and the acknowledgement of the server's.
  void StartHttp2();
  // A whole unary call of /test.Echo/Unary on the stream.
  void SendCall(uint32_t stream, std::string_view path, std::string_view body);
  void Shutdown();  // no more bytes from us
  void Reset();     // closes with a TCP reset

  // Waits for bytes; nothing at the end of the connection (or after ten seconds).
  std::optional<std::string> ReadSome();
  std::string ReadToEnd();
  // HTTP/1.1: head and body by Content-Length.
  std::string ReadHttpResponse();
  // HTTP/1.1 answer to a HEAD.
  std::string ReadHttpHead();
  std::optional<Frame> ReadFrame();
  // Skips frames until one of this type. Throws, and so fails the test, when the connection ends.
  Frame ReadFrameOf(uint8_t type);
  // The fields of a HEADERS frame. Every one that comes must be decoded, in order: they share a
  // compression table.
  std::map<std::string, std::string> Decode(const Frame& frame);
  // The next HEADERS, decoded.
  std::map<std::string, std::string> ReadHeaders();

 private:
  bool Fill(size_t size);
  int fd_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};  // where TestTls is spoken
  std::string buffer_;
  nghttp2_hd_inflater* inflater_ = nullptr;
};

}  // namespace quorate::transport
