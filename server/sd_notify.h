// Tells a service manager how the server is (systemd's notify protocol, sd_notify(3): one datagram
// to the socket named by NOTIFY_SOCKET). Any thread may call these.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace quorate::server {

// The server serves clients. OK without a message when the variable is not set.
absl::Status NotifyReady();

// One line for people, which `systemctl status` shows, also after the process ended. It is a
// courtesy: where it cannot be sent nothing is lost, since the log says the same.
void NotifyStatus(std::string_view text);

}  // namespace quorate::server
