// A command of quoratectl, and the families of them. commands.h has the registry.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace quorate::ctl {

class Session;

// Whom a command asks. One that asks nobody takes no notice of flags about answers.
enum class Asks { kServer, kNobody };

struct Command {
  std::string name;       // its words: "lease grant"
  std::string arguments;  // what follows them: "<ttl>"
  std::string help;       // one line
  std::vector<OptionSpec> flags;
  int (*run)(Session* session);  // answers the exit code
  // Shown by --help below the usage: examples, and what a person should know before.
  std::string details = {};
  Asks asks = Asks::kServer;
};

// One per file *_commands.cc.
std::vector<Command> KvCommands();
std::vector<Command> TxnCommands();
std::vector<Command> WatchCommands();
std::vector<Command> LeaseCommands();
std::vector<Command> EndpointCommands();
std::vector<Command> MemberCommands();
std::vector<Command> MaintenanceCommands();
std::vector<Command> SnapshotCommands();
std::vector<Command> AuthCommands();
std::vector<Command> UserCommands();
std::vector<Command> RoleCommands();
std::vector<Command> LockCommands();
std::vector<Command> MirrorCommands();
std::vector<Command> CheckCommands();
std::vector<Command> CompletionCommands();
std::vector<Command> ToolCommands();

}  // namespace quorate::ctl
