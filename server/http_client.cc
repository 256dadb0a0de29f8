#include "server/http_client.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "base/status_util.h"
#include "base/text.h"
#include "transport/client.h"
#include "transport/http1_parser.h"
#include "transport/tls/tls_socket.h"

namespace quorate::server {
namespace {

constexpr uint64_t kBodyBytesMax = 16 << 20;
constexpr size_t kBufferBytes = 64 << 10;

class Exchange {
 public:
  explicit Exchange(const HttpCall& call)
      : call_(call), deadline_ns_(clock_.MonotonicNs() + call.timeout_ns) {}

  absl::StatusOr<HttpAnswer> Run();

 private:
  absl::Status Failed(std::string_view what) const {
    return absl::UnavailableError(StrCat(call_.method, " ", call_.url, call_.path, ": ", what));
  }
  absl::Status Wait(int fd, short events);
  using SocketPointer = std::unique_ptr<transport::ByteSocket>;
  absl::StatusOr<SocketPointer> Connect(const transport::Endpoint& endpoint);
  absl::StatusOr<SocketPointer> ConnectTo(const addrinfo& address,
                                          const transport::Endpoint& endpoint);
  absl::Status Handshake(transport::ByteSocket* socket);
  absl::Status Send(transport::ByteSocket* socket, std::string_view bytes);
  absl::StatusOr<HttpAnswer> Receive(transport::ByteSocket* socket);
  // What ended the connection.
  absl::Status Broken(transport::ByteSocket* socket, std::string_view otherwise);

  const HttpCall& call_;
  SystemClock clock_;
  const int64_t deadline_ns_;
  const std::unique_ptr<char[]> buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
};

absl::Status Exchange::Wait(int fd, short events) {
  for (;;) {
    const int64_t left_ns = deadline_ns_ - clock_.MonotonicNs();
    if (left_ns <= 0) {
      return absl::DeadlineExceededError(
          StrCat(call_.method, " ", call_.url, call_.path, ": no answer in time"));
    }
    pollfd poll_fd{fd, events, 0};
    const int ready = poll(&poll_fd, 1, static_cast<int>(left_ns / kNanosPerMilli) + 1);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return Failed(strerror(errno));
  }
}

absl::StatusOr<Exchange::SocketPointer> Exchange::ConnectTo(const addrinfo& address,
                                                            const transport::Endpoint& endpoint) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed(strerror(errno));
  const bool https = endpoint.scheme == transport::Endpoint::Scheme::kHttps;
  SocketPointer owner = https ? transport::MakeTlsClientSocket(fd, call_.tls, endpoint.host,
                                                               transport::TlsProtocols::kHttp1)
                              : transport::MakePlainSocket(fd);
  if (connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return Failed(strerror(errno));
    QR_RETURN_IF_ERROR(Wait(fd, POLLOUT));
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Failed(strerror(error));
  }
  QR_RETURN_IF_ERROR(Handshake(owner.get()));
  return owner;
}

absl::Status Exchange::Handshake(transport::ByteSocket* socket) {
  while (!socket->established()) {
    if (socket->Write(nullptr, 0).kind == transport::IoResult::Kind::kClosed) {
      return Broken(socket, "the connection is broken");
    }
    const bool writes = socket->WaitsForWritable(transport::ByteSocket::Output::kNone);
    QR_RETURN_IF_ERROR(Wait(socket->fd(), static_cast<short>(POLLIN | (writes ? POLLOUT : 0))));
    // A server speaks only when it is asked: nothing for the user can come here.
    if (socket->Read(buffer_.get(), kBufferBytes).kind == transport::IoResult::Kind::kClosed) {
      return Broken(socket, "the connection ended during the handshake");
    }
  }
  return absl::OkStatus();
}

absl::Status Exchange::Broken(transport::ByteSocket* socket, std::string_view otherwise) {
  const std::string error = socket->error();
  return Failed(error.empty() ? otherwise : error);
}

absl::StatusOr<Exchange::SocketPointer> Exchange::Connect(const transport::Endpoint& endpoint) {
  if (endpoint.scheme == transport::Endpoint::Scheme::kHttps && call_.tls == nullptr) {
    return Failed(
        "the URL is https, and this member has no certificate to show there; see "
        "--peer-cert-file");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(endpoint.host.c_str(), StrCat(endpoint.port).c_str(), &hints, &found);
  if (error != 0) return Failed(gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  absl::StatusOr<SocketPointer> connected = Failed("no address");
  for (const addrinfo* address = found; address != nullptr && !connected.ok();
       address = address->ai_next) {
    connected = ConnectTo(*address, endpoint);
  }
  return connected;
}

absl::Status Exchange::Send(transport::ByteSocket* socket, std::string_view bytes) {
  using Kind = transport::IoResult::Kind;
  using Output = transport::ByteSocket::Output;
  while (!bytes.empty() || socket->WaitsForWritable(Output::kNone)) {
    const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    const transport::IoResult result = socket->Write(&piece, bytes.empty() ? 0 : 1);
    bytes.remove_prefix(result.bytes);
    if (result.kind == Kind::kClosed) return Broken(socket, "the connection is broken");
    if (result.kind == Kind::kBlocked) QR_RETURN_IF_ERROR(Wait(socket->fd(), POLLOUT));
  }
  return absl::OkStatus();
}

absl::StatusOr<HttpAnswer> Exchange::Receive(transport::ByteSocket* socket) {
  using Parser = transport::Http1Parser;
  Parser parser = Parser::Streamed(Parser::Kind::kAnswers);
  HttpAnswer answer;
  for (;;) {
    QR_RETURN_IF_ERROR(Wait(socket->fd(), POLLIN));
    const transport::IoResult got = socket->Read(buffer_.get(), kBufferBytes);
    if (got.kind == transport::IoResult::Kind::kBlocked) continue;
    if (got.kind == transport::IoResult::Kind::kClosed) {
      return Broken(socket, "the connection ended before the answer did");
    }
    std::string_view data(buffer_.get(), got.bytes);
    Parser::Result result;
    while ((result = parser.Next(&data)) != Parser::Result::kNeedMore) {
      if (result == Parser::Result::kError) return Failed("the answer is not HTTP/1.1");
      if (result == Parser::Result::kHead) {
        answer.status = parser.status();
        answer.headers = parser.request().headers;
      } else if (result == Parser::Result::kBody) {
        answer.body += parser.body();
        if (answer.body.size() > kBodyBytesMax) return Failed("the answer is too large");
      } else if (result == Parser::Result::kRequest) {
        return answer;
      }
    }
  }
}

absl::StatusOr<HttpAnswer> Exchange::Run() {
  QR_ASSIGN_OR_RETURN(const transport::Endpoint endpoint, transport::ParseEndpoint(call_.url));
  QR_ASSIGN_OR_RETURN(const SocketPointer connection, Connect(endpoint));
  const std::string& host = endpoint.host;
  const bool is_v6 = host.find(':') != std::string::npos;
  std::string request = StrCat(call_.method, " ", call_.path,
                               " HTTP/1.1\r\nHost: ", is_v6 ? StrCat("[", host, "]") : host, ":",
                               endpoint.port, "\r\nConnection: close\r\n");
  for (const auto& [name, value] : call_.headers) StrAppend(&request, name, ": ", value, "\r\n");
  if (call_.method != "GET" || !call_.body.empty()) {
    StrAppend(&request, "Content-Length: ", call_.body.size(), "\r\n");
  }
  StrAppend(&request, "\r\n", call_.body);
  QR_RETURN_IF_ERROR(Send(connection.get(), request));
  return Receive(connection.get());
}

}  // namespace

std::string HttpAnswer::Header(std::string_view lower_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return "";
}

absl::StatusOr<HttpAnswer> CallHttp(const HttpCall& call) { return Exchange(call).Run(); }

}  // namespace quorate::server
