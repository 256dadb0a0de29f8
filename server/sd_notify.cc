#include "server/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/text.h"

namespace quorate::server {
namespace {

absl::Status Send(std::string_view message) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return absl::OkStatus();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if (length >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(StrCat("NOTIFY_SOCKET is too long: ", path));
  }
  memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0';  // Linux's abstract names
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::InternalError(StrCat("NOTIFY_SOCKET: ", strerror(errno)));
  const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const ssize_t sent = sendto(fd, message.data(), message.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), size);
  const int error = errno;
  close(fd);
  if (sent < 0) return absl::InternalError(StrCat("NOTIFY_SOCKET ", path, ": ", strerror(error)));
  return absl::OkStatus();
}

}  // namespace

absl::Status NotifyReady() { return Send("READY=1\nSTATUS=serving clients"); }

void NotifyStatus(std::string_view text) {
  std::string line = StrCat("STATUS=", text);
  std::replace(line.begin(), line.end(), '\n', ' ');  // a new line would begin another field
  Send(line).IgnoreError();
}

}  // namespace quorate::server
