#include "ctl/http_get.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "transport/client.h"

namespace quorate::ctl {
namespace {

constexpr time_t kAnswerSeconds = 10;
constexpr size_t kAnswerBytesMax = 64 << 20;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(Socket&& other) : fd_(other.fd_) { other.fd_ = -1; }
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::Status Unavailable(std::string_view endpoint, std::string_view why) {
  return absl::UnavailableError(ToAbsl(StrCat(endpoint, ": ", why)));
}

absl::StatusOr<Socket> Connect(const std::string& endpoint) {
  auto address = transport::ParseEndpoint(endpoint);
  if (!address.ok()) return address.status();
  if (address->scheme == transport::Endpoint::Scheme::kHttps) {
    return Unavailable(endpoint, "metrics are read over http only");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = StrCat(address->port);
  if (const int error = getaddrinfo(address->host.c_str(), port.c_str(), &hints, &found)) {
    return Unavailable(endpoint, gai_strerror(error));
  }
  std::string why = "no address";
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Socket made(socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{kAnswerSeconds, 0};
    setsockopt(made.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(made.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(made.fd(), info->ai_addr, info->ai_addrlen) == 0) {
      freeaddrinfo(found);
      return made;
    }
    why = strerror(errno);
  }
  freeaddrinfo(found);
  return Unavailable(endpoint, why);
}

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& endpoint, const std::string& path) {
  auto connection = Connect(endpoint);
  if (!connection.ok()) return connection.status();
  // HTTP/1.0: the answer ends with the connection and comes in one piece.
  const std::string request = StrCat("GET ", path, " HTTP/1.0\r\nHost: metrics\r\n\r\n");
  if (send(connection->fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return Unavailable(endpoint, strerror(errno));
  }
  std::string answer;
  char buffer[64 << 10];
  ssize_t count;
  while ((count = recv(connection->fd(), buffer, sizeof(buffer), 0)) > 0) {
    answer.append(buffer, static_cast<size_t>(count));
    if (answer.size() > kAnswerBytesMax) return Unavailable(endpoint, "the answer is too large");
  }
  if (count < 0) return Unavailable(endpoint, strerror(errno));
  const std::string_view first = std::string_view(answer).substr(0, answer.find("\r\n"));
  const size_t body = answer.find("\r\n\r\n");
  if (first.find(" 200") == std::string_view::npos || body == std::string::npos) {
    return Unavailable(endpoint, StrCat("answers '", first, "' to GET ", path));
  }
  return answer.substr(body + 4);
}

}  // namespace quorate::ctl
