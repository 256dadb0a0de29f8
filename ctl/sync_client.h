// SyncClient: gRPC calls that block, for a command-line program. One background thread runs the
// event loop. Signs in where credentials are given, and again when the token has ended.
// Thread-safe; the client outlives its streams.
#pragma once

#include <google/protobuf/message.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "ctl/interruption.h"
#include "transport/client.h"

namespace quorate::ctl {

// Who calls. Name and password go to Authenticate; a token is sent as it is, and never renewed.
struct Credentials {
  std::string name;
  std::string password;
  std::string token;
};

struct ClientOptions {
  std::vector<std::string> endpoints;                // "host:port", with http:// or https:// before
  std::shared_ptr<transport::TlsContext> tls;        // of endpoints that are not http; may be null
  int64_t command_timeout_ns = 5 * kNanosPerSecond;  // of a unary call, all tries together
  int64_t dial_timeout_ns = 2 * kNanosPerSecond;     // of one connection attempt
  // Of a connection on which calls wait: transport/client.h. 0: it is never asked.
  int64_t keepalive_time_ns = 0;
  int64_t keepalive_timeout_ns = 0;
  uint64_t receive_message_bytes_max = UINT32_MAX;
  uint64_t send_message_bytes_max = 2 << 20;
  Credentials credentials;
};

// How to connect to each of the endpoints. kInvalidArgument when there is none, or one is
// malformed.
absl::StatusOr<std::vector<transport::ChannelOptions>> ChannelsOf(const ClientOptions& options);

class SyncClient;

// One streaming call. Ends with the object.
class SyncStream {
 public:
  ~SyncStream();
  void Send(const google::protobuf::Message& message);
  void HalfClose();
  // The next message, or nothing when the stream ended (see status()), `wait_ns` went by or
  // `interruption` was raised (closed() is false then). INT64_MAX waits for ever.
  std::optional<Bytes> Receive(int64_t wait_ns, Interruption* interruption = nullptr);
  bool closed() const;
  transport::RpcStatus status() const;

 private:
  friend class SyncClient;
  struct Inbox;
  explicit SyncStream(SyncClient* client);

  SyncClient* client_;
  std::unique_ptr<Inbox> inbox_;
};

class SyncClient {
 public:
  // Errors are ChannelsOf's.
  static absl::StatusOr<std::unique_ptr<SyncClient>> Create(const ClientOptions& options);
  ~SyncClient();

  // Goes through the endpoints, again and again, while they cannot be reached; what a server
  // answers is final, but for a token that has ended, which is renewed once. When the time is over
  // the status is kDeadlineExceeded and names the last reason. `timeout_ns` 0: the command timeout.
  transport::RpcStatus Call(std::string_view path, const google::protobuf::Message& request,
                            google::protobuf::Message* response, int64_t timeout_ns = 0);
  // On the endpoint that answered last (at first: the first). A server that lost its leader ends a
  // stream opened with kRequired.
  enum class Leader { kAny, kRequired };
  std::unique_ptr<SyncStream> Open(std::string_view path, Leader leader = Leader::kAny);
  // Streams and calls from now on go to the endpoint after the current one.
  void TryNextEndpoint();

  // Gets a token for the name and password, if there are any. A server without authentication is
  // no error; credentials are forgotten then. Needs not be called before Call.
  transport::RpcStatus SignIn();
  // What each call carries: the token.
  transport::MetadataList Metadata() const;

 private:
  friend class SyncStream;
  explicit SyncClient(const ClientOptions& options);
  transport::RpcStatus CallUntil(std::string_view path, const std::string& request, int64_t end_ns,
                                 Bytes* answer);
  transport::RpcStatus CallOnce(std::string_view path, const std::string& request,
                                int64_t timeout_ns, Bytes* answer);
  bool RenewsToken(const transport::RpcStatus& status) const;
  // Runs `work` on the loop's thread and waits for its end.
  void OnLoop(const std::function<void()>& work);

  ClientOptions options_;
  SystemClock clock_;
  transport::EventLoop loop_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;  // loop's thread, but for the size
  std::atomic<size_t> current_{0};
  mutable std::mutex credentials_mutex_;
  Credentials credentials_;
  std::thread thread_;
};

}  // namespace quorate::ctl
