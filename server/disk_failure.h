// DiskFailure: what happens when the log or the backend cannot be written any more. A server stops
// at once: nothing unsynced was acknowledged, so nothing is lost. The simulator, which runs many
// members in one process, lets only the one member die.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "base/log.h"

namespace quorate::server {

// Called on the writer's thread, once. The writer touches its disk no more, should it return.
using DiskFailureHandler =
    std::function<void(std::string_view operation, const absl::Status& status)>;

// Logs `message` with the operation and ends the process.
inline DiskFailureHandler StopProcess(std::string_view message) {
  return [message](std::string_view operation, const absl::Status& status) {
    Log(LogLevel::kFatal, message, {{"operation", operation}, status});
  };
}

}  // namespace quorate::server
