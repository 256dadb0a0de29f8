// The registry: every command there is, in the order of --help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/command.h"

namespace quorate::ctl {

struct CommandGroup {
  std::string title;  // "Users and roles"
  std::vector<Command> commands;
};

const std::vector<CommandGroup>& CommandGroups();

// What the words at the front of a command line name. A word may be cut short as long as one
// command alone begins with it ("mem l"), as with etcdctl.
struct Found {
  const Command* command = nullptr;  // null: none, or ...
  std::string group;                 // ... the first word is one that others follow ("member")
  size_t words = 0;                  // how many of the words were taken
};
Found FindCommand(const std::vector<std::string>& words);

// The commands that begin with this word: "member" has "member add" and so on.
std::vector<const Command*> CommandsOf(std::string_view group);

}  // namespace quorate::ctl
