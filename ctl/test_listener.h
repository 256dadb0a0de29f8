// TestListener: a free loopback port, for servers of the tests that no server's library would be.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace quorate::ctl {

class TestListener {
 public:
  // `take` gets one accepted connection after the other, on a thread of its own, and owns it.
  explicit TestListener(std::function<void(int fd)> take) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    QR_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    QR_CHECK(listen(fd_, 512) == 0);
    socklen_t size = sizeof(address);
    QR_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, take = std::move(take)] {
      for (int fd; (fd = accept(fd_, nullptr, nullptr)) >= 0;) take(fd);
    });
  }
  ~TestListener() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  TestListener(const TestListener&) = delete;
  TestListener& operator=(const TestListener&) = delete;

  std::string endpoint() const { return StrCat("127.0.0.1:", port_); }

 private:
  const int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace quorate::ctl
