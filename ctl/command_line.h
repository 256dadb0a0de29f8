// From the words of a command line to the command that runs.
#pragma once

#include <string>
#include <vector>

namespace quorate::ctl {

// `all` is without the program's name. Answers the exit code.
int RunCommandLine(const std::vector<std::string>& all);

}  // namespace quorate::ctl
