// `quorate PROGRAM start [flags]`: what the programs beside the server itself have in common.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"

namespace quorate {

// `args` are the words behind the program's name. Prints usage and flags where help or nothing is
// asked for; otherwise `serve`, which does not come back while it can serve. Answers the exit
// status.
int RunStartCommand(std::vector<OptionSpec> flags, const char* usage,
                    const std::vector<std::string>& args,
                    const std::function<absl::Status(const OptionValues&)>& serve);

}  // namespace quorate
