#include "transport/byte_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace quorate::transport {
namespace {

IoResult ResultOf(ssize_t moved) {
  if (moved > 0) return {IoResult::Kind::kDone, static_cast<size_t>(moved)};
  if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return {IoResult::Kind::kBlocked, 0};
  }
  return {IoResult::Kind::kClosed, 0};
}

std::string AddressText(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&address)->sin_addr, text,
              sizeof(text));
  } else if (address.ss_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr;
    // IPv4 through a socket of IPv6 is shown as what it is.
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
      inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text));
    } else {
      inet_ntop(AF_INET6, &v6, text, sizeof(text));
    }
  }
  return text;
}

class PlainSocket final : public ByteSocket {
 public:
  explicit PlainSocket(int fd) : fd_(fd) {}
  ~PlainSocket() override { close(fd_); }
  PlainSocket(const PlainSocket&) = delete;
  PlainSocket& operator=(const PlainSocket&) = delete;

  int fd() const override { return fd_; }
  IoResult Read(char* data, size_t size) override { return ResultOf(recv(fd_, data, size, 0)); }
  IoResult Write(const iovec* pieces, int count) override { return WritePlain(fd_, pieces, count); }
  void CloseWrite() override { shutdown(fd_, SHUT_WR); }

 private:
  const int fd_;
};

}  // namespace

std::unique_ptr<ByteSocket> MakePlainSocket(int fd) { return std::make_unique<PlainSocket>(fd); }

IoResult WritePlain(int fd, const iovec* pieces, int count) {
  if (count == 0) return {IoResult::Kind::kDone, 0};
  if (count == 1) return ResultOf(send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL));
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<size_t>(count);
  return ResultOf(sendmsg(fd, &message, MSG_NOSIGNAL));
}

std::string PeerAddress(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return AddressText(address);
}

std::string PeerName(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
  // The port stands at the same place in both families.
  const std::string port =
      std::to_string(ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port));
  const std::string text = AddressText(address);
  if (text.empty()) return "unix";
  return text.find(':') == std::string::npos ? text + ":" + port : "[" + text + "]:" + port;
}

void TuneTcp(int fd) {
  const int on = 1;
  // Fails harmlessly on unix sockets.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

}  // namespace quorate::transport
