// Tells a service manager that the server is ready (systemd's notify protocol: one datagram to the
// socket named by NOTIFY_SOCKET).
#pragma once

#include "absl/status/status.h"

namespace quorate::server {

// OK without a message when the variable is not set.
absl::Status NotifyReady();

}  // namespace quorate::server
