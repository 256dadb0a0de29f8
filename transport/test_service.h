// What the transport's tests share: a service with one method per behaviour, a server around it,
// and a client that waits for its answers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "transport/client.h"
#include "transport/event_loop.h"
#include "transport/server.h"
#include "transport/tls/test_authority.h"

namespace quorate::transport {

// Waits (no matter for how long: the test runner has the time limit) until `condition` holds.
void WaitUntil(const std::function<bool()>& condition);

// Methods of "test.Echo":
//   Unary      answers with the request, from the loop thread
//   Later      the same from another thread
//   Fail       request "CODE text": ends with that status
//   Hold       keeps the call until Release; answers with the request
//   Metadata   answers with the value of the metadata that the request names, or "<none>"
//   Many       request "COUNT SIZE": server stream
//   Big        request "SIZE": one message by MessageSource, pulled on another thread
//   BigNow     the same, pulled at once
//   BigBroken  a source that fails half-way
//   CommonName answers with the common name of the client's certificate
//   Bidi       sends each message back; at half-close finishes with OK
//   Flood      bidi: on the first message "COUNT SIZE" sends while QueuedBytes is below 1 MiB,
//              goes on when OnWritable
class TestService {
 public:
  TestService();
  ~TestService();

  const ServiceTable& table() const { return table_; }
  // Ends all held calls; returns how many there were.
  size_t Release();
  size_t held() const;
  size_t cancelled_held() const;
  int open_handlers() const { return open_handlers_.load(); }
  int closed_handlers() const { return closed_handlers_.load(); }
  int half_closes() const { return half_closes_.load(); }
  int open_sources() const { return open_sources_.load(); }
  size_t source_bytes_out_max() const { return source_bytes_out_max_.load(); }
  size_t queued_max() const { return queued_max_.load(); }

  // Runs on the service's own thread.
  void RunLater(std::function<void()> work);

 private:
  friend class EchoHandler;
  friend class FloodHandler;
  friend class PatternSource;
  using Unary = std::function<void(std::shared_ptr<ServerCall>, Bytes)>;
  void AddUnary(std::string name, Unary run);
  void AddServerStream(std::string name, Unary run);
  void Work();

  ServiceTable table_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> work_;
  std::vector<std::pair<std::shared_ptr<ServerCall>, Bytes>> held_;
  bool stop_ = false;
  std::atomic<int> open_handlers_{0};
  std::atomic<int> closed_handlers_{0};
  std::atomic<int> half_closes_{0};
  std::atomic<int> open_sources_{0};
  std::atomic<size_t> source_bytes_out_max_{0};
  std::atomic<size_t> queued_max_{0};
  std::thread worker_;
};

// The byte at `offset` of every generated message.
char PatternAt(uint64_t offset);

// Both ends of TLS as the tests use it by default: each shows a certificate and checks the other's.
struct TestTls {
  TestAuthority authority;
  TestAuthority::Pair pair;
  std::shared_ptr<TlsContext> server;
  std::shared_ptr<TlsContext> client;
  static TestTls& Get();
  // From now on it is spoken at this port; once more for each time.
  static void Speak(uint16_t port);
  // Whether a TestServer that speaks TLS listens there: then clients of the tests do, too.
  static bool IsSpokenAt(uint16_t port);
};

class TestServer {
 public:
  // With a clock of its own unless the options name one. "native+tls": with TestTls.
  explicit TestServer(std::string_view transport = "native", ServerOptions options = {});
  ~TestServer();

  uint16_t port() const { return transport_->ports().front(); }
  TestService& service() { return service_; }
  ServerTransport& transport() { return *transport_; }
  const Clock& clock() const { return clock_; }

 private:
  SystemClock clock_;
  bool tls_ = false;
  uint16_t port_ = 0;
  TestService service_;
  std::unique_ptr<ServerTransport> transport_;
};

// "GET /hello" answers "hello\n"; "POST /echo" its body; "/later" the same from another thread. A
// body that follows comes back piece by piece, until one is "end".
HttpHandler TestHttpHandler(TestService* service);

struct CallResult {
  RpcStatus status;
  std::string response;
};

// A streaming call seen from another thread: events are collected and waited for.
class TestStream final : public ClientStreamHandler {
 public:
  void OnMessage(Bytes message) override;
  void OnClosed(RpcStatus status) override;

  void Send(std::string_view message);
  void HalfClose();
  void Pause();
  void Resume();
  void Cancel();
  // The next message, or nothing once the stream is closed.
  std::optional<std::string> Next();
  RpcStatus WaitClosed();
  uint64_t messages() const;
  uint64_t bytes() const;

 private:
  friend class TestClient;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> received_;
  size_t taken_ = 0;
  uint64_t bytes_ = 0;
  std::optional<RpcStatus> status_;
  EventLoop* loop_ = nullptr;
  std::unique_ptr<ClientStream> stream_;  // loop thread only
};

class TestClient {
 public:
  explicit TestClient(uint16_t port, std::string host = "127.0.0.1",
                      uint32_t initial_window_bytes = 1 << 20);
  TestClient(uint16_t port, std::shared_ptr<TlsContext> tls, std::string host = "127.0.0.1");
  ~TestClient();

  CallResult Call(std::string_view path, std::string_view request, int64_t timeout_ns = 0,
                  const MetadataList& metadata = {});
  // Many at once; results in order of the requests.
  std::vector<CallResult> CallMany(std::string_view path, const std::vector<std::string>& requests);
  std::unique_ptr<TestStream> Open(std::string_view path, const MetadataList& metadata = {});
  // Destroys a stream on the loop's thread.
  void Close(std::unique_ptr<TestStream> stream);
  void RunOnLoop(const std::function<void()>& work);
  Channel* channel() { return channel_.get(); }
  EventLoop* loop() { return &loop_; }

 private:
  void Connect(const ChannelOptions& options);

  SystemClock clock_;
  EventLoop loop_;
  std::thread thread_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace quorate::transport
