#include "transport/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"

namespace quorate::transport {
namespace {

constexpr int kBacklog = 4096;
// Port 0 on several addresses: how often another free port is tried when the first one's number is
// taken on the second address.
constexpr int kPortAttempts = 16;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string SystemText(int error) {
  std::string text = std::strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(text[0]));
  return text;
}

absl::Status ListenError(const ListenAddress& address, std::string_view network,
                         std::string_view where, std::string_view reason) {
  return absl::UnavailableError("listen " + std::string(network) + " " + std::string(where) + ": " +
                                std::string(reason) + " (" + address.url + ")");
}

std::string HostPort(const std::string& host, uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

uint16_t BoundPort(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

bool IsWildcard(const addrinfo& info) {
  if (info.ai_family != AF_INET6) return false;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(info.ai_addr);
  return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

// No host means every address of the machine, as Go's ":2379" does: the wildcard of IPv6, which
// takes IPv4 with it, and that of IPv4 alone where there is no IPv6. Both could not be bound.
void PreferWildcardOfIpv6(std::vector<const addrinfo*>* addresses) {
  std::stable_partition(addresses->begin(), addresses->end(),
                        [](const addrinfo* info) { return IsWildcard(*info); });
}

// A listening descriptor, or -1 with errno set and *step telling what failed.
int ListenOn(const addrinfo& info, uint16_t port, const ServerOptions& options, const char** step) {
  *step = "socket";
  const int fd = socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  if (options.reuse_address) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (options.reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  sockaddr_storage address{};
  std::memcpy(&address, info.ai_addr, info.ai_addrlen);
  if (info.ai_family == AF_INET6) {
    // "[::]" takes IPv4 too, as Go's listeners do; every other address stands for itself.
    const int only_v6 = IsWildcard(info) ? 0 : 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
    reinterpret_cast<sockaddr_in6*>(&address)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(port);
  }
  *step = "bind";
  int result = bind(fd, reinterpret_cast<sockaddr*>(&address), info.ai_addrlen);
  if (result == 0) {
    *step = "listen";
    result = listen(fd, kBacklog);
  }
  if (result == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

absl::StatusOr<Listener> Listener::Bind(const ListenAddress& address,
                                        const ServerOptions& options) {
  Listener listener(address);
  const absl::Status status =
      address.unix_path.empty() ? listener.BindTcp(address, options) : listener.BindUnix(address);
  if (!status.ok()) {
    listener.unix_path_.clear();
    return status;
  }
  return listener;
}

Listener::Listener(Listener&& other) noexcept
    : serve_(other.serve_),
      security_(other.security_),
      unix_path_(std::exchange(other.unix_path_, std::string())),
      fds_(std::exchange(other.fds_, {})),
      port_(other.port_) {}

Listener::~Listener() { CloseAll(); }

void Listener::CloseAll() {
  for (const int fd : fds_) close(fd);
  if (!fds_.empty() && !unix_path_.empty()) unlink(unix_path_.c_str());
  fds_.clear();
}

absl::Status Listener::BindUnix(const ListenAddress& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string& path = address.unix_path;
  if (path.size() >= sizeof(name.sun_path)) {
    return ListenError(address, "unix", path, "the path is longer than a socket's may be");
  }
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  // A server that was killed leaves its file; anything else of that name is not ours to remove.
  struct stat file {};
  if (lstat(path.c_str(), &file) == 0 && S_ISSOCK(file.st_mode)) unlink(path.c_str());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return ListenError(address, "unix", path, "socket: " + SystemText(errno));
  if (bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0 ||
      listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return ListenError(address, "unix", path, "bind: " + SystemText(error));
  }
  fds_.push_back(fd);
  return absl::OkStatus();
}

absl::Status Listener::BindTcp(const ListenAddress& address, const ServerOptions& options) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string where = HostPort(address.host, address.port);
  const char* host = address.host.empty() ? nullptr : address.host.c_str();
  // A null host needs some service; the port is set per socket.
  if (const int error = getaddrinfo(host, "0", &hints, &found); error != 0) {
    return ListenError(address, "tcp", where, "lookup: " + std::string(gai_strerror(error)));
  }
  const AddressList list(found, freeaddrinfo);
  std::vector<const addrinfo*> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    addresses.push_back(info);
  }
  if (host == nullptr) PreferWildcardOfIpv6(&addresses);
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    port_ = address.port;
    int failure = 0;
    std::string reason = "no address";
    for (const addrinfo* info : addresses) {
      const char* step = "";
      const int fd = ListenOn(*info, port_, options, &step);
      if (fd >= 0) {
        fds_.push_back(fd);
        if (port_ == 0) port_ = BoundPort(fd);
        // The wildcard of IPv6 has taken IPv4 with it, and no host is bound once.
        if (IsWildcard(*info) || host == nullptr) break;
        continue;
      }
      reason = std::string(step) + ": " + SystemText(errno);
      // A family that this machine does not have is no fault as long as another one works.
      if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT) failure = errno;
    }
    if (failure == 0 && !fds_.empty()) return absl::OkStatus();
    CloseAll();
    if (address.port != 0 || failure != EADDRINUSE) {
      return ListenError(address, "tcp", where, reason);
    }
  }
  return ListenError(address, "tcp", where, "no port is free on all addresses");
}

}  // namespace quorate::transport
