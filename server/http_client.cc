#include "server/http_client.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "base/status_util.h"
#include "base/text.h"
#include "transport/client.h"
#include "transport/http1_parser.h"

namespace quorate::server {
namespace {

constexpr uint64_t kBodyBytesMax = 16 << 20;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

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
  absl::StatusOr<std::unique_ptr<Socket>> Connect(const std::string& host, uint16_t port);
  absl::StatusOr<std::unique_ptr<Socket>> ConnectTo(const addrinfo& address);
  absl::Status Send(int fd, std::string_view bytes);
  absl::StatusOr<HttpAnswer> Receive(int fd);

  const HttpCall& call_;
  SystemClock clock_;
  const int64_t deadline_ns_;
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

absl::StatusOr<std::unique_ptr<Socket>> Exchange::ConnectTo(const addrinfo& address) {
  auto socket_owner = std::make_unique<Socket>(
      socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = socket_owner->fd();
  if (fd < 0) return Failed(strerror(errno));
  if (connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return Failed(strerror(errno));
    QR_RETURN_IF_ERROR(Wait(fd, POLLOUT));
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Failed(strerror(error));
  }
  return socket_owner;
}

absl::StatusOr<std::unique_ptr<Socket>> Exchange::Connect(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), StrCat(port).c_str(), &hints, &found);
  if (error != 0) return Failed(gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  absl::StatusOr<std::unique_ptr<Socket>> connected = Failed("no address");
  for (const addrinfo* address = found; address != nullptr && !connected.ok();
       address = address->ai_next) {
    connected = ConnectTo(*address);
  }
  return connected;
}

absl::Status Exchange::Send(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      QR_RETURN_IF_ERROR(Wait(fd, POLLOUT));
    } else if (errno != EINTR) {
      return Failed(strerror(errno));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<HttpAnswer> Exchange::Receive(int fd) {
  using Parser = transport::Http1Parser;
  Parser parser = Parser::Streamed(Parser::Kind::kAnswers);
  HttpAnswer answer;
  char buffer[16 << 10];
  for (;;) {
    QR_RETURN_IF_ERROR(Wait(fd, POLLIN));
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return Failed(strerror(errno));
    if (got == 0) return Failed("the connection ended before the answer did");
    std::string_view data(buffer, static_cast<size_t>(got));
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
  const auto endpoint = transport::ParseEndpoint(call_.url);
  if (!endpoint.ok()) return endpoint.status();
  const auto& [host, port] = *endpoint;
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<Socket> connection, Connect(host, port));
  const bool is_v6 = host.find(':') != std::string::npos;
  std::string request = StrCat(call_.method, " ", call_.path,
                               " HTTP/1.1\r\nHost: ", is_v6 ? StrCat("[", host, "]") : host, ":",
                               port, "\r\nConnection: close\r\n");
  for (const auto& [name, value] : call_.headers) StrAppend(&request, name, ": ", value, "\r\n");
  if (call_.method != "GET" || !call_.body.empty()) {
    StrAppend(&request, "Content-Length: ", call_.body.size(), "\r\n");
  }
  StrAppend(&request, "\r\n", call_.body);
  QR_RETURN_IF_ERROR(Send(connection->fd(), request));
  return Receive(connection->fd());
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
