// DialConnection: one HTTP/1.1 connection that we open to a peer; requests are written as bytes,
// answers come parsed. Loop thread only, but for looking up names, which may take seconds and so
// happens on a thread of its own. Made by Open and held by shared_ptr: its user may close and drop
// it inside any callback.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "transport/byte_socket.h"
#include "transport/event_loop.h"
#include "transport/http1_parser.h"
#include "transport/mailbox.h"
#include "transport/output_buffer.h"
#include "transport/tls/tls_context.h"

namespace quorate::transport {

// What the dialled connections of one loop share.
struct DialContext {
  EventLoop* loop;
  std::shared_ptr<Mailbox> mailbox;  // for look-ups; closed when the loop has ended
  char* read_buffer;
  size_t read_buffer_bytes;
  std::shared_ptr<TlsContext> tls;  // for https URLs; may be null
};

struct PeerUrl {
  enum class Scheme : uint8_t { kHttp, kHttps } scheme = Scheme::kHttp;
  std::string host;
  uint16_t port = 0;
  bool operator==(const PeerUrl&) const = default;
  std::string authority() const;  // "10.0.0.1:2380", "[::1]:2380"
};

class DialConnection : public std::enable_shared_from_this<DialConnection> {
 public:
  class User {
   public:
    virtual ~User() = default;
    virtual void OnHead(int status, const HttpRequest& head) = 0;  // fields only
    virtual void OnBody(std::string_view piece) = 0;
    // The answer is whole. `keep_alive`: another request may follow.
    enum class Reuse : uint8_t { kMayFollow, kOver };
    virtual void OnAnswer(Reuse reuse) = 0;
    // Could not connect, broke, ended, or nothing moved for the idle limit. Not after Close.
    virtual void OnLost(const std::string& reason) = 0;
    // Less waits than kLowBytes, after more did.
    virtual void OnDrained() {}
  };
  static constexpr size_t kLowBytes = 512 * 1024;

  // Begins to connect; `user` outlives the connection or closes it. `idle_limit_ns` also bounds the
  // time to connect.
  static std::shared_ptr<DialConnection> Open(const DialContext* context, const PeerUrl& url,
                                              int64_t idle_limit_ns, User* user);
  ~DialConnection();

  void Write(std::string_view bytes);
  void Write(const Bytes& bytes);
  void Write(OutputBuffer* bytes);  // emptied
  size_t unsent_bytes() const { return output_.size(); }
  // No callback comes after it.
  void Close();
  // Whether time may pass without a byte: between two requests of a kept connection.
  enum class Expecting : uint8_t { kBytes, kNothing };
  void set_expecting(Expecting expecting);

 private:
  struct Address {
    sockaddr_storage storage;
    socklen_t size;
  };
  DialConnection(const DialContext* context, PeerUrl url, int64_t idle_limit_ns, User* user)
      : context_(context), url_(std::move(url)), idle_limit_ns_(idle_limit_ns), user_(user) {}

  void Start();
  std::unique_ptr<ByteSocket> MakeSocket(int fd) const;
  static std::vector<Address> Resolve(const PeerUrl& url, int flags);
  void OnResolved(std::vector<Address> addresses);
  void ConnectNext();
  void OnReady(uint32_t events);
  bool FinishConnect();
  void Read();
  void Parse(std::string_view data);
  void FlushSoon();
  void Flush();
  void ArmIdleTimer();
  void Lose(const std::string& reason);

  const DialContext* const context_;
  const PeerUrl url_;
  const int64_t idle_limit_ns_;
  User* user_;  // null once closed
  std::vector<Address> addresses_;
  size_t next_address_ = 0;
  std::string connect_error_ = "no address";
  std::unique_ptr<ByteSocket> socket_;
  bool connected_ = false;
  uint32_t interest_ = 0;
  OutputBuffer output_;
  bool above_low_ = false;
  bool flush_scheduled_ = false;
  Http1Parser parser_ = Http1Parser::Streamed(Http1Parser::Kind::kAnswers);
  int64_t moved_ns_ = 0;  // when bytes last went either way
  Expecting expecting_ = Expecting::kBytes;
  EventLoop::TimerId idle_timer_ = 0;
};

}  // namespace quorate::transport
