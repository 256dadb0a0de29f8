// One HTTP GET over plain text: how `check datascale` reads a server's metrics.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace quorate::ctl {

// The body of the answer. `endpoint` is "host:port" or "http://host:port". kUnavailable names what
// went wrong, an answer other than 200 as well.
absl::StatusOr<std::string> HttpGet(const std::string& endpoint, const std::string& path);

}  // namespace quorate::ctl
