// Listening sockets of one ListenAddress: names are resolved to all their addresses, unix sockets
// are files that go away again. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/server.h"

namespace quorate::transport {

class Listener {
 public:
  // Errors name the URL and the system's reason.
  static absl::StatusOr<Listener> Bind(const ListenAddress& address, const ServerOptions& options);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();  // closes, and removes the socket file

  const std::vector<int>& fds() const { return fds_; }
  uint16_t port() const { return port_; }  // 0 for a unix socket
  ListenAddress::Serve serve() const { return serve_; }
  ListenAddress::Security security() const { return security_; }

 private:
  explicit Listener(const ListenAddress& address)
      : serve_(address.serve), security_(address.security), unix_path_(address.unix_path) {}
  absl::Status BindUnix(const ListenAddress& address);
  absl::Status BindTcp(const ListenAddress& address, const ServerOptions& options);
  void CloseAll();

  ListenAddress::Serve serve_;
  ListenAddress::Security security_;
  std::string unix_path_;
  std::vector<int> fds_;
  uint16_t port_ = 0;
};

}  // namespace quorate::transport
