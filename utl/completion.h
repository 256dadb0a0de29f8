// Completion scripts: words of commands and names of flags, from the tables of commands.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "utl/invocation.h"

namespace quorate::utl {

// `args`: "completion" and the shell's name. Prints the script; answers the exit code.
int Completion(const std::vector<std::string>& args, const std::vector<Command>& commands,
               const std::vector<OptionSpec>& global_flags);

}  // namespace quorate::utl
