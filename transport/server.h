// ServerTransport: listens, speaks HTTP/2 + gRPC and HTTP/1.1 on the same port (told apart by the
// first bytes) and hands calls to the services. Chosen by name: `native` (nghttp2, the default) or
// `grpc` (grpc++, gRPC only on its port).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "transport/rpc.h"

namespace quorate::transport {

class TlsContext;
struct HttpResponse;

// One request's way back, for an answer that is made while it is sent, or that need not be made
// when nobody waits any more. Any thread but where said; after the end nothing has an effect.
class HttpExchange {
 public:
  // All are called on the loop thread, and none after `closed`.
  struct Events {
    std::function<void()> writable;  // the connection has taken what was queued
    // Once, always: it is answered; or the client is gone; or the server stops, and what takes its
    // time had better be answered now.
    std::function<void()> closed;
    // Once, at this monotonic time, if it is still open then.
    std::function<void()> deadline = nullptr;
    int64_t deadline_ns = INT64_MAX;
    // Where HttpRequest::body_follows: its next piece, and that there is no more.
    std::function<void(std::string_view)> body = nullptr;
    std::function<void()> body_end = nullptr;
  };

  virtual ~HttpExchange() = default;
  // Inside the handler's call, at most once.
  virtual void Listen(Events events) = 0;
  // Inside the handler's call, before Listen, where the request asked for a websocket and `answer`
  // (transport/websocket.h) is 101: the connection becomes one. What the client says is the
  // request's body, and each line of the answer's body a message; its status and fields go nowhere.
  virtual void SpeakWebSocket(HttpResponse answer) = 0;
  // Instead of `reply`: status and headers now, the body in pieces. Whatever head.body holds is the
  // first.
  virtual void StartBody(HttpResponse head) = 0;
  virtual void Write(std::string piece) = 0;
  virtual void EndBody() = 0;
  // Bytes given to Write and not yet taken by the connection.
  virtual size_t QueuedBytes() const = 0;
  virtual std::string peer() const = 0;  // "127.0.0.1:4711"
};

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // percent-decoded, without query
  std::string query;                                         // raw, without '?'
  std::vector<std::pair<std::string, std::string>> headers;  // names lower-case
  std::string body;
  bool body_follows = false;                    // ... comes while it is answered
  bool encrypted = false;                       // came by TLS
  std::optional<std::string> peer_common_name;  // as ServerCall::PeerCommonName
  std::shared_ptr<HttpExchange> exchange;       // null on ports that serve no streams

  // The first field of this name, which is lower-case.
  std::optional<std::string_view> Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // Content-Length is added
  std::string body;
};

// Called on a loop thread; `reply` may be called later from any thread, once.
using HttpHandler = std::function<void(HttpRequest, std::function<void(HttpResponse)> reply)>;

struct ListenAddress {
  std::string url;        // as configured, for messages: "http://127.0.0.1:2379"
  std::string host;       // name or literal; resolved by the transport (all addresses are bound)
  uint16_t port = 0;      // 0 = any free one
  std::string unix_path;  // set: a unix socket instead
  enum class Serve { kGrpcAndHttp, kGrpcOnly, kHttpOnly } serve = Serve::kGrpcAndHttp;
  // kBoth: one port for http and https, told apart by the first byte.
  enum class Security : uint8_t { kPlain, kTls, kBoth } security = Security::kPlain;
};

struct ServerOptions {
  std::vector<ListenAddress> listen;
  uint32_t io_threads = 1;
  uint32_t max_concurrent_streams = UINT32_MAX;  // per connection
  uint64_t receive_message_bytes_max = 2'097'152;
  uint32_t header_list_bytes_max = 16 * 1024;
  uint64_t http_body_bytes_max = 2'097'152;
  // Of which paths the requests are answered while their bodies come, where HTTP/2 lets both sides
  // speak at once; empty: of none. All others are handed out whole.
  std::function<bool(std::string_view path)> http_conversations;
  size_t writable_low_bytes = 256 * 1024;
  uint32_t connections_max = 0;                                   // 0 = from the descriptor limit
  int64_t keepalive_interval_ns = int64_t{7200} * 1'000'000'000;  // server pings
  int64_t keepalive_timeout_ns = int64_t{20} * 1'000'000'000;
  int64_t keepalive_min_time_ns = int64_t{5} * 1'000'000'000;  // client pings closer than this
  // A connection that has not said by then what it speaks is closed.
  int64_t preface_timeout_ns = int64_t{10} * 1'000'000'000;
  // An HTTP/1.1 connection that sends nothing for so long, with no answer due, is closed.
  int64_t http_idle_timeout_ns = int64_t{300} * 1'000'000'000;
  bool reuse_port = false;
  bool reuse_address = true;
  // Of the addresses that are not kPlain; its time for a handshake is the preface timeout.
  std::shared_ptr<TlsContext> tls;
  std::string endpoint = "client";  // in the log: whose connections these are
  const Clock* clock = nullptr;
  RpcObserver* observer = nullptr;
};

struct ServerStats {
  uint64_t connections = 0;  // open now
  uint64_t streams = 0;      // open now
  uint64_t connections_total = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t protocol_errors = 0;
};

class ServerTransport {
 public:
  virtual ~ServerTransport() = default;  // stops
  // Binds all addresses; the sockets accept but nothing is answered before Serve. Errors name the
  // URL and the system's reason ("listen tcp 127.0.0.1:2379: bind: address already in use").
  virtual absl::Status Bind() = 0;
  virtual void Serve() = 0;                         // starts answering; does not block
  virtual std::vector<uint16_t> ports() const = 0;  // per ListenAddress, after Bind
  // Graceful end: GOAWAY in two steps, unary calls may finish until `deadline_ns`, streams end with
  // kUnavailable; then everything is closed. Blocks.
  virtual void Drain(int64_t deadline_ns) = 0;
  virtual ServerStats stats() const = 0;
};

struct ServerTransportRow {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<ServerTransport> (*create)(const ServerOptions&, const ServiceTable*,
                                             HttpHandler);
};
std::span<const ServerTransportRow> ServerTransportRegistry();
// kInvalidArgument with the known names when unknown. `services` outlives the transport.
absl::StatusOr<std::unique_ptr<ServerTransport>> CreateServerTransport(std::string_view name,
                                                                       const ServerOptions& options,
                                                                       const ServiceTable* services,
                                                                       HttpHandler http);

}  // namespace quorate::transport
