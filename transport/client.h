// The client half, used by the load driver and quoratectl: gRPC over HTTP/2 on an EventLoop, many
// calls per connection, no copies beyond the socket. All methods of Channel and ClientStream on the
// loop's thread; callbacks arrive there too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "transport/event_loop.h"
#include "transport/rpc.h"

namespace quorate::transport {

using MetadataList = std::vector<std::pair<std::string, std::string>>;

class TlsContext;

struct ChannelOptions {
  std::string host;
  uint16_t port = 0;
  std::shared_ptr<TlsContext> tls;                          // null: plain text
  int64_t connect_timeout_ns = int64_t{5} * 1'000'000'000;  // the handshake included
  uint32_t initial_window_bytes = 1 << 20;                  // per stream and per connection
  uint64_t receive_message_bytes_max = UINT32_MAX;
  // While calls wait and nothing has come for `keepalive_time_ns`, the server is asked with a PING;
  // if nothing comes for `keepalive_timeout_ns` then, the connection is lost. 0: it is never asked.
  // A server may close connections that ask too often: etcd does below five seconds.
  int64_t keepalive_time_ns = 0;
  int64_t keepalive_timeout_ns = 0;
  bool keepalive_without_calls = false;  // also while none wait
};

// Events of one streaming call; OnClosed is the last and always comes.
class ClientStreamHandler {
 public:
  virtual ~ClientStreamHandler() = default;
  virtual void OnMessage(Bytes message) = 0;
  virtual void OnClosed(RpcStatus status) = 0;
};

class ClientStream {
 public:
  virtual ~ClientStream() = default;  // cancels if still open
  virtual void Send(Bytes message) = 0;
  virtual void HalfClose() = 0;
  // The server is let send no more than the stream's window until Resume: what has left it by then
  // still arrives.
  virtual void Pause() {}
  virtual void Resume() {}
  virtual void Cancel() = 0;
};

class Channel {
 public:
  // Connects in the background; calls made before are queued, and fail with kUnavailable (text
  // names host, port and reason) when connecting fails. A lost connection fails all its calls with
  // kUnavailable; the next call connects again.
  static std::unique_ptr<Channel> Create(EventLoop* loop, const ChannelOptions& options);
  virtual ~Channel() = default;

  using UnaryCallback = std::function<void(RpcStatus status, Bytes response)>;
  // `timeout_ns` 0 = none; otherwise sent as grpc-timeout and enforced here too.
  virtual void Call(std::string_view path, Bytes request, int64_t timeout_ns,
                    const MetadataList& metadata, UnaryCallback done) = 0;
  // `handler` outlives the stream or the stream is destroyed first.
  virtual std::unique_ptr<ClientStream> Open(std::string_view path, const MetadataList& metadata,
                                             ClientStreamHandler* handler) = 0;
  virtual bool connected() const = 0;
};

struct Endpoint {
  enum class Scheme : uint8_t { kNone, kHttp, kHttps } scheme = Scheme::kNone;
  std::string host;
  uint16_t port = 0;
};

// "host:port", "http://host:port", "https://host:port", "[::1]:2379". kInvalidArgument names the
// text.
absl::StatusOr<Endpoint> ParseEndpoint(std::string_view endpoint);

// What connections to an endpoint speak, as etcd's clients decide: none for http; `given`, which
// may be null, where no scheme is named; for https that, or else TLS that trusts the system's
// roots.
std::shared_ptr<TlsContext> TlsFor(const Endpoint& endpoint, std::shared_ptr<TlsContext> given);

}  // namespace quorate::transport
