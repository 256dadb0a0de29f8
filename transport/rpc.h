// The server half's contract: what a service sees of a call, whatever carries it (native HTTP/2 or
// grpc++). Requests come in as the message bytes (frame header removed, decompressed, size
// checked); answers go out as bytes or as a source that is pulled while the stream's window opens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"

namespace quorate::transport {

// gRPC status codes (grpc/status.h numbers).
enum class RpcCode : int {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16
};

struct RpcStatus {
  RpcCode code = RpcCode::kOk;
  std::string message;  // UTF-8; percent-encoded on the wire by the transport
  bool ok() const { return code == RpcCode::kOk; }
};

// A message too large to build at once. The total is known up front (the frame header needs it);
// the bytes are pulled in order as the peer's window opens.
class MessageSource {
 public:
  virtual ~MessageSource() = default;
  virtual uint64_t size() const = 0;
  // Calls `done` once, from any thread, with 1..max_bytes more bytes (or an error, which resets the
  // stream). Not called again before `done` was. May call `done` before it returns. A source whose
  // stream ends meanwhile is destroyed after `done`.
  virtual void Pull(size_t max_bytes, std::function<void(absl::StatusOr<Bytes>)> done) = 0;
};

// One gRPC message: its pieces are sent back to back, never copied together.
class Message {
 public:
  Message() = default;
  Message(Bytes bytes) { pieces.push_back(std::move(bytes)); }     // NOLINT: a Bytes is a message
  Message(std::vector<Bytes> parts) : pieces(std::move(parts)) {}  // NOLINT
  Message(std::unique_ptr<MessageSource> from) : source(std::move(from)) {}  // NOLINT
  uint64_t size() const;

  std::vector<Bytes> pieces;
  std::unique_ptr<MessageSource> source;  // set: the pieces are empty
};

// One call, alive until the last reference goes. All methods from any thread; calls after the end
// of the stream (finished, cancelled, connection lost) do nothing.
class ServerCall {
 public:
  virtual ~ServerCall() = default;

  // Request metadata by lower-case name; `-bin` values are decoded. First one if repeated.
  virtual std::optional<std::string> Metadata(std::string_view name) const = 0;
  virtual std::string peer() const = 0;  // "127.0.0.1:4711"
  // Common name of the client's certificate, where one was presented and verified.
  virtual std::optional<std::string> PeerCommonName() const { return std::nullopt; }
  virtual int64_t deadline_ns() const = 0;  // monotonic; INT64_MAX = none
  virtual int64_t received_ns() const = 0;  // monotonic, when the request was complete
  virtual bool cancelled() const = 0;       // the peer no longer waits

  // Queues one message of the answer. The stream's queue is bounded by what the service queues:
  // look at QueuedBytes and wait for OnWritable when it is above the limit.
  virtual void Send(Message message) = 0;
  // Ends the call. Queued messages leave first.
  virtual void Finish(RpcStatus status) = 0;
  // Send + Finish(OK) in one hand-over: the answer of a unary call.
  virtual void Reply(Message message) = 0;
  // Bytes queued and not yet taken by HTTP/2 flow control.
  virtual size_t QueuedBytes() const = 0;
};

// The service's side of one streaming call. All methods are called on the loop thread that owns
// the connection, one at a time; OnClosed is the last and always comes.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  virtual void OnMessage(Bytes message) = 0;
  virtual void OnHalfClose() = 0;  // the client sends no more
  // The queue fell to or below `writable_low_bytes` (ServerOptions) after having been above it.
  virtual void OnWritable() {}
  virtual void OnClosed() = 0;
};

struct Method {
  enum class Kind { kUnary, kServerStream, kBidi };
  std::string path;  // "/etcdserverpb.KV/Put"
  Kind kind = Kind::kUnary;
  // Exactly one of the two is set. `unary` is called once with the one request, on the loop thread;
  // it must not block.
  std::function<void(std::shared_ptr<ServerCall>, Bytes request)> unary;
  // Makes the handler of a new call: kBidi; kServerStream where the service wants OnWritable;
  // kUnary where the answer may take long and the service wants to know that nobody waits any more.
  std::function<std::unique_ptr<CallHandler>(std::shared_ptr<ServerCall>)> bidi;

  // A call of it may last as long as its client wants: a stopping server ends it.
  bool MayLast() const { return kind != Kind::kUnary || bidi != nullptr; }
};

// Which of a call's messages the service gets, by the kind of the method: grpc-go's rules and
// texts. Of a unary call the first, as soon as it is there; nobody reads what follows. Of a server
// stream the only one, once the client sends no more. Of a bidirectional one all.
class RequestMessages {
 public:
  // At most one of the two is set.
  struct Next {
    std::optional<Bytes> deliver;
    std::optional<RpcStatus> refuse;
  };

  explicit RequestMessages(Method::Kind kind) : kind_(kind) {}
  Next OnMessage(Bytes message);
  Next OnHalfClose();
  // What the client sends from now on is not looked at.
  bool complete() const { return kind_ == Method::Kind::kUnary && count_ > 0; }

 private:
  const Method::Kind kind_;
  size_t count_ = 0;
  std::optional<Bytes> held_;
};

// What an observer remembers of one call from its start to its end. The call owns it meanwhile.
class RpcTrace {
 public:
  virtual ~RpcTrace() = default;
};

struct RpcOutcome {
  RpcCode code = RpcCode::kOk;
  std::string_view message;  // empty where the client hears none; valid during Handled
  int64_t took_ns = 0;
};

// Probes a transport calls per call; the server turns them into grpc_server_* metrics and spans.
// Any thread. Every call that Started ends with Handled, once.
class RpcObserver {
 public:
  virtual ~RpcObserver() = default;
  // `call` is asked during Started only. The answer comes back with Handled; null: there is nothing
  // to remember.
  virtual std::unique_ptr<RpcTrace> Started(const Method& method, const ServerCall& call) = 0;
  virtual void MessageReceived(const Method& method, size_t bytes) = 0;
  virtual void MessageSent(const Method& method, size_t bytes) = 0;
  virtual void Handled(const Method& method, const RpcOutcome& outcome,
                       std::unique_ptr<RpcTrace> trace) = 0;
};

// All methods of a server; built before Start, read-only after.
class ServiceTable {
 public:
  void Add(Method method);  // CHECKs that the path is new
  const Method* Find(std::string_view path) const;
  bool HasService(std::string_view service) const;  // "etcdserverpb.KV"
  const std::vector<std::unique_ptr<Method>>& methods() const { return methods_; }

 private:
  std::vector<std::unique_ptr<Method>> methods_;
  std::vector<const Method*> by_path_;  // sorted
};

// "unknown method X for service Y" / "unknown service Y", as etcd answers (kUnimplemented).
RpcStatus UnknownMethodStatus(const ServiceTable& table, std::string_view path);

}  // namespace quorate::transport
