// The option table as a --config-file with every option explained and none set: what is installed
// as the default configuration.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace quorate::server {

// Options that only make sense on the command line, or do nothing, are left out.
std::string ConfigFileText(const std::vector<OptionSpec>& specs);

}  // namespace quorate::server
