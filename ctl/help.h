// The texts of --help.
#pragma once

#include <string>
#include <string_view>

#include "ctl/command.h"

namespace quorate::ctl {

std::string ProgramHelp();
std::string GroupHelp(std::string_view group);  // "member"
std::string CommandHelp(const Command& command);
std::string GlobalFlagsHelp();

}  // namespace quorate::ctl
