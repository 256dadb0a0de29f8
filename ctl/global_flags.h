// The flags that every command takes, and the ETCDCTL_* variables that stand for them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"

namespace quorate::ctl {

inline constexpr char kGlobalGroup[] = "Global flags";

std::vector<OptionSpec> GlobalFlags();

// With --discovery-srv: looks the servers up and makes them the endpoints.
absl::Status DiscoverEndpoints(OptionValues* values);

// The letter that stands for a flag: 'w' for "write-out". Empty when there is none.
std::string_view FlagOfLetter(char letter);

// ETCDCTL_ENDPOINTS and so on. A flag that was given counts more. Names that no flag has are told
// on standard error.
absl::Status ReadEnvironment(OptionValues* values);

// What --debug writes to standard error: the value of each flag. Secrets are not shown.
std::string DebugText(const OptionValues& values);

}  // namespace quorate::ctl
