#include "ctl/help.h"

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/global_flags.h"

namespace quorate::ctl {
namespace {

constexpr char kIntroduction[] = R"(quoratectl reads and changes an etcd-compatible store.

  quoratectl put greeting hello                  writes a key
  quoratectl get greeting                        reads it
  quoratectl get --prefix / --keys-only          lists all keys that begin with /
  quoratectl watch --prefix /                    prints changes as they happen (Ctrl-C ends it)
  quoratectl lease grant 60                      a lease of 60 seconds; put --lease=ID attaches keys
  quoratectl endpoint status -w table            how the server is
  quoratectl --endpoints=host1:2379,host2:2379 get greeting

Commands and flags are those of etcdctl 3.7; every global flag can also be given in the environment,
--endpoints as ETCDCTL_ENDPOINTS and so on. `quoratectl COMMAND --help` explains one command.

Exit codes: 0 done (also for a key that is not there), 1 the server refused or cannot be reached,
2 sign-in or a stream failed, 3 a transaction or watch line that cannot be read, 4 a format or order
that does not exist, 5 a watch was canceled, 128 arguments are missing or malformed; lock exits as
the program that it ran.
)";

constexpr size_t kNameWidth = 24;

std::string Row(std::string_view name, std::string_view help) {
  const size_t blanks = name.size() < kNameWidth ? kNameWidth - name.size() : 1;
  return StrCat("  ", name, std::string(blanks, ' '), help, "\n");
}

}  // namespace

std::string ProgramHelp() {
  std::string text = kIntroduction;
  for (const CommandGroup& group : CommandGroups()) {
    StrAppend(&text, "\n", group.title, ":\n");
    for (const Command& command : group.commands) text += Row(command.name, command.help);
  }
  return StrCat(text, "\n", GlobalFlagsHelp());
}

std::string GroupHelp(std::string_view group) {
  std::string text = StrCat("Usage:\n  quoratectl ", group, " COMMAND\n\nCommands:\n");
  for (const Command* command : CommandsOf(group)) text += Row(command->name, command->help);
  return StrCat(text, "\n`quoratectl ", group, " COMMAND --help` explains one of them.\n");
}

std::string CommandHelp(const Command& command) {
  std::string text = StrCat(command.help, "\n\nUsage:\n  quoratectl ", command.name,
                            command.arguments.empty() ? "" : " ", command.arguments, "\n");
  if (!command.details.empty()) StrAppend(&text, "\n", command.details, "\n");
  std::vector<OptionSpec> flags = command.flags;
  for (OptionSpec& flag : flags) flag.group = "Flags";
  if (!flags.empty()) StrAppend(&text, "\n", OptionValues(flags).HelpText());
  return text + "\n`quoratectl options` lists the global flags.\n";
}

std::string GlobalFlagsHelp() { return OptionValues(GlobalFlags()).HelpText(); }

}  // namespace quorate::ctl
