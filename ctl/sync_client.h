// SyncClient: gRPC calls that block, for a command-line program. One background thread runs the
// event loop; all methods are for the one thread that made the client.
#pragma once

#include <google/protobuf/message.h>

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
#include "transport/client.h"

namespace quorate::ctl {

struct ClientOptions {
  std::vector<std::string> endpoints;                // "host:port" or "http://host:port"
  int64_t command_timeout_ns = 5 * kNanosPerSecond;  // of a unary call, all tries together
  int64_t dial_timeout_ns = 2 * kNanosPerSecond;     // of one connection attempt
  uint64_t receive_message_bytes_max = UINT32_MAX;
};

class SyncClient;

// One streaming call. Ends with the object.
class SyncStream {
 public:
  ~SyncStream();
  void Send(const google::protobuf::Message& message);
  void HalfClose();
  // The next message, or nothing when the stream ended (see status()) or `wait_ns` went by
  // (closed() is false then). INT64_MAX waits for ever.
  std::optional<Bytes> Receive(int64_t wait_ns);
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
  // kInvalidArgument when an endpoint is malformed.
  static absl::StatusOr<std::unique_ptr<SyncClient>> Create(const ClientOptions& options);
  ~SyncClient();

  // Goes through the endpoints, again and again, while they cannot be reached; what a server
  // answers is final. When the time is over the status is kDeadlineExceeded and names the last
  // reason.
  transport::RpcStatus Call(std::string_view path, const google::protobuf::Message& request,
                            google::protobuf::Message* response);
  // On the endpoint that answered last (at first: the first).
  std::unique_ptr<SyncStream> Open(std::string_view path);

 private:
  friend class SyncStream;
  explicit SyncClient(const ClientOptions& options);
  transport::RpcStatus CallOnce(std::string_view path, const std::string& request,
                                int64_t timeout_ns, Bytes* answer);
  // Runs `work` on the loop's thread and waits for its end.
  void OnLoop(const std::function<void()>& work);

  ClientOptions options_;
  SystemClock clock_;
  transport::EventLoop loop_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;
  size_t current_ = 0;
  std::thread thread_;
};

}  // namespace quorate::ctl
