// version, options, help: what needs no server.
#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/help.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

int Version(Session*) {
  Out("quoratectl version: " QUORATE_VERSION "\nAPI version: 3.7\n");
  return kExitOk;
}

int Options(Session*) {
  Out(GlobalFlagsHelp());
  return kExitOk;
}

int Help(Session* session) {
  const Found found = FindCommand(session->words());
  if (found.command != nullptr) {
    Out(CommandHelp(*found.command));
  } else if (!found.group.empty()) {
    Out(GroupHelp(found.group));
  } else if (session->words().empty()) {
    Out(ProgramHelp());
  } else {
    return Fail(kExitError, StrCat("unknown command \"", session->words()[0],
                                   "\"\nRun 'quoratectl --help' for all commands."));
  }
  return kExitOk;
}

}  // namespace

std::vector<Command> ToolCommands() {
  return {
      {"version", "", "Shows the version", {}, Version, "", Asks::kNobody},
      {"options", "", "Shows the global flags", {}, Options, "", Asks::kNobody},
      {"help", "[command]", "Explains a command", {}, Help, "", Asks::kNobody},
  };
}

}  // namespace quorate::ctl
