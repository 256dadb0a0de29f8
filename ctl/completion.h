// Shell completion: what may follow on a command line, and the scripts by which shells ask for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/command.h"

namespace quorate::ctl {

struct Completion {
  std::string text;
  std::string help;
};

// What the last of `words` (which may be empty) may become. `words` are without the program's name.
std::vector<Completion> Complete(const std::vector<std::string>& words);

// What scripts call: `quoratectl __complete WORD...` prints a completion per line, a tab, its help.
inline constexpr char kCompleteWord[] = "__complete";
int PrintCompletions(const std::vector<std::string>& words);

std::vector<Command> CompletionCommands();

}  // namespace quorate::ctl
