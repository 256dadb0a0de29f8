// ClientConnection: one HTTP/2 connection of a Channel and the calls on it. Loop thread only.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/byte_socket.h"
#include "transport/client.h"
#include "transport/event_loop.h"
#include "transport/message_decoder.h"
#include "transport/output_buffer.h"
#include "transport/send_queue.h"

namespace quorate::transport {

class ClientConnection;
class ClientStreamHandle;

// One call, unary or streaming. Belongs to its connection and is used again after it.
struct ClientCall {
  explicit ClientCall(uint64_t message_bytes_max) : decoder(message_bytes_max) {}

  ClientConnection* connection = nullptr;
  int32_t stream_id = 0;
  Channel::UnaryCallback done;             // unary
  ClientStreamHandler* handler = nullptr;  // streaming
  ClientStreamHandle* handle = nullptr;    // ... and what its user holds
  Bytes response;
  bool have_response = false;
  bool have_status = false;
  bool half_closed = false;  // nothing is sent after the queue
  bool deferred = false;     // nghttp2 waits for more to send
  bool http_ok = false;      // :status 200 was seen
  bool paused = false;
  size_t unconsumed_bytes = 0;  // received while paused: the window is that much smaller
  RpcStatus status;
  std::string http_status;
  SendQueue queue;
  MessageDecoder decoder;
  EventLoop::TimerId timer = 0;
  int64_t deadline_ns = INT64_MAX;
  ClientCall* next = nullptr;
  ClientCall* previous = nullptr;
};

struct RequestOptions {
  std::string_view path;
  const MetadataList* metadata;
  int64_t timeout_ns = 0;
};

class ClientConnection {
 public:
  // Told that the connection is over. It may be destroyed when this turn of the loop has ended,
  // no earlier: its own code may still be on the stack.
  using OnGone = std::function<void(ClientConnection*)>;
  ClientConnection(EventLoop* loop, const ChannelOptions& options, OnGone on_gone);
  ~ClientConnection();  // after OnGone or Close

  // Ends all calls with kCanceled; nobody is told that the connection is gone.
  void Close();

  // False when new calls need another connection (GOAWAY, lost).
  bool usable() const;
  bool connected() const { return state_ == State::kConnected; }

  ClientCall* StartUnary(const RequestOptions& request, Bytes body, Channel::UnaryCallback done);
  ClientCall* StartStream(const RequestOptions& request, ClientStreamHandler* handler,
                          ClientStreamHandle* handle);
  void Send(ClientCall* call, Bytes message);
  void HalfClose(ClientCall* call);
  void Resume(ClientCall* call);
  // Ends the call now; its user is told `status`.
  void Cancel(ClientCall* call, RpcStatus status);

 private:
  struct Callbacks;
  friend struct Callbacks;
  enum class State { kConnecting, kHandshake, kConnected, kGone };

  ClientCall* NewCall();
  void Submit(ClientCall* call, const RequestOptions& request);
  void OnHeader(ClientCall* call, std::string_view name, std::string_view value);
  void OnData(ClientCall* call, std::string_view data);
  void OnStreamClosed(ClientCall* call, uint32_t error_code);
  ssize_t ReadData(ClientCall* call, size_t length, uint32_t* flags);
  void Continue(ClientCall* call);
  // Takes the call out of the connection and tells its user.
  void End(ClientCall* call, RpcStatus status);
  void Recycle(std::unique_ptr<ClientCall> call);

  void Resolve();
  void OnResolved();
  void ConnectNext();
  void OnReady(uint32_t events);
  void OnConnectReady();
  void OnEstablished();
  std::unique_ptr<ByteSocket> MakeSocket(int fd) const;
  void Read();
  void KeepAlive();
  void FlushSoon();
  void Flush();
  void Lose(const std::string& reason);
  void LoseBroken();
  void Shut(const RpcStatus& status);

  EventLoop* const loop_;
  const ChannelOptions options_;
  OnGone on_gone_;
  const std::string authority_;
  State state_ = State::kConnecting;
  struct Address;
  // Shared with the thread that looks a host name up; null for addresses.
  struct Lookup;
  std::shared_ptr<Lookup> lookup_;
  std::vector<Address> addresses_;
  size_t next_address_ = 0;
  std::string connect_error_;
  EventLoop::TimerId connect_timer_ = 0;
  EventLoop::TimerId keepalive_timer_ = 0;
  int64_t last_read_ns_ = 0;
  bool ping_out_ = false;  // and nothing has come since
  std::unique_ptr<ByteSocket> socket_;
  uint32_t interest_ = 0;
  nghttp2_session* session_ = nullptr;
  OutputBuffer output_;
  bool flush_scheduled_ = false;
  ClientCall* calls_ = nullptr;
  std::vector<std::unique_ptr<ClientCall>> spare_;
};

class ClientStreamHandle final : public ClientStream {
 public:
  ClientStreamHandle() = default;
  ~ClientStreamHandle() override;
  void Send(Bytes message) override;
  void HalfClose() override;
  void Pause() override;
  void Resume() override;
  void Cancel() override;

 private:
  friend class ClientConnection;
  friend class ChannelImpl;
  ClientCall* call_ = nullptr;  // null once closed
};

}  // namespace quorate::transport
