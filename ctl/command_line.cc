#include "ctl/command_line.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/completion.h"
#include "ctl/global_flags.h"
#include "ctl/help.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

// Arguments in the form that the option table reads: letters spelled out, and all endpoints in one
// flag, for naming it again adds to it.
std::vector<std::string> SpellOut(const std::vector<std::string>& args) {
  std::vector<std::string> out;
  std::vector<std::string> endpoints;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg.starts_with("--endpoints=")) {
      endpoints.push_back(arg.substr(arg.find('=') + 1));
      continue;
    }
    if (arg == "--endpoints" && i + 1 < args.size()) {
      endpoints.push_back(args[++i]);
      continue;
    }
    const std::string_view flag =
        arg.size() >= 2 && arg[0] == '-' && arg[1] != '-' ? FlagOfLetter(arg[1]) : "";
    if (flag.empty()) {
      out.push_back(arg);
    } else if (arg.size() == 2) {
      out.push_back(StrCat("--", flag));
    } else {
      out.push_back(StrCat("--", flag, "=", arg.substr(arg[2] == '=' ? 3 : 2)));
    }
  }
  if (!endpoints.empty()) {
    // An empty one says that there is none, unless others are named.
    if (endpoints.size() > 1) std::erase(endpoints, "");
    out.insert(out.begin(), StrCat("--endpoints=", StrJoin(endpoints, ",")));
  }
  return out;
}

// Places of the first two words that are no flags, nor values of global flags.
std::vector<size_t> CommandWords(const std::vector<std::string>& args) {
  std::vector<size_t> places;
  const std::vector<OptionSpec> globals = GlobalFlags();
  for (size_t i = 0; i < args.size() && places.size() < 2; ++i) {
    if (!args[i].starts_with("-")) {
      places.push_back(i);
      continue;
    }
    const size_t begin = args[i].find_first_not_of('-');
    const std::string name = begin == std::string::npos ? "" : args[i].substr(begin);
    const auto it = std::find_if(globals.begin(), globals.end(),
                                 [&](const OptionSpec& spec) { return spec.name == name; });
    if (it != globals.end() && it->type != Type::kBool) ++i;  // its value stands by itself
  }
  return places;
}

bool ParseFormat(const std::string& text, Format* format) {
  static constexpr std::pair<std::string_view, Format> kFormats[] = {
      {"simple", Format::kSimple},     {"json", Format::kJson},   {"fields", Format::kFields},
      {"protobuf", Format::kProtobuf}, {"table", Format::kTable},
  };
  for (const auto& [name, value] : kFormats) {
    if (text != name) continue;
    *format = value;
    return true;
  }
  return false;
}

int UnknownCommand(std::string_view before, std::string_view word) {
  std::vector<std::string> known;
  if (before.empty()) {
    for (const CommandGroup& group : CommandGroups()) {
      for (const Command& command : group.commands) known.push_back(command.name);
    }
  } else {
    for (const Command* command : CommandsOf(before)) known.push_back(command->name);
  }
  const std::string program = StrCat("quoratectl", before.empty() ? "" : " ", before);
  return Fail(kExitError, StrCat("unknown command \"", word, "\" for \"", program, "\"\nknown: ",
                                 StrJoin(known, ", "), "\nRun '", program, " --help' for usage."));
}

// `behind`: "--" and what stands behind it, or nothing.
int RunCommand(const Command& command, const std::vector<std::string>& args,
               const std::vector<std::string>& behind) {
  std::vector<OptionSpec> specs = GlobalFlags();
  specs.insert(specs.end(), command.flags.begin(), command.flags.end());
  // Endpoints() asks for it, whatever the command.
  const bool has_cluster = std::any_of(specs.begin(), specs.end(),
                                       [](const OptionSpec& s) { return s.name == "cluster"; });
  if (!has_cluster) {
    specs.push_back({"cluster", Type::kBool, "false", "", "", {}});
    specs.back().hidden = true;
  }
  OptionValues values(std::move(specs));
  auto words = values.ParseFlags(args);
  if (!words.ok()) {
    return Fail(kExitError, StrCat(ToStd(words.status().message()), "\nRun 'quoratectl ",
                                   command.name, " --help' for usage."));
  }
  if (values.GetBool("help")) {
    Out(CommandHelp(command));
    return kExitOk;
  }
  if (auto status = ReadEnvironment(&values); !status.ok()) {
    return Fail(kExitError, ToStd(status.message()));
  }
  if (command.asks == Asks::kServer) {
    if (auto status = DiscoverEndpoints(&values); !status.ok()) {
      return Fail(kExitError, ToStd(status.message()));
    }
  }
  if (values.GetBool("debug")) std::fputs(DebugText(values).c_str(), stderr);
  Format format = Format::kSimple;
  if (command.asks == Asks::kServer && !ParseFormat(values.GetString("write-out"), &format)) {
    return Fail(kExitBadFeature, "unsupported output format");
  }
  // What stands behind "--" are words; watch also wants to know where they begin.
  const bool keeps_dashes = command.name == "watch" || behind.empty();
  words->insert(words->end(), behind.begin() + (keeps_dashes ? 0 : 1), behind.end());
  Session session(std::move(values), *std::move(words), format);
  if (auto status = session.LoadTls(); !status.ok()) return Fail(status);
  return command.run(&session);
}

bool AsksForHelp(const std::vector<std::string>& args) {
  return std::find(args.begin(), args.end(), "--help") != args.end();
}

}  // namespace

int RunCommandLine(const std::vector<std::string>& all) {
  if (!all.empty() && all[0] == kCompleteWord)
    return PrintCompletions({all.begin() + 1, all.end()});
  const auto dashes = std::find(all.begin(), all.end(), "--");
  const std::vector<std::string> behind(dashes, all.end());
  std::vector<std::string> args = SpellOut({all.begin(), dashes});
  const std::vector<size_t> places = CommandWords(args);
  std::vector<std::string> words;
  for (const size_t place : places) words.push_back(args[place]);
  const Found found = FindCommand(words);
  if (found.command != nullptr) {
    for (size_t i = found.words; i > 0; --i) {
      args.erase(args.begin() + static_cast<std::ptrdiff_t>(places[i - 1]));
    }
    return RunCommand(*found.command, args, behind);
  }
  if (!found.group.empty() && (words.size() == 1 || AsksForHelp(args))) {
    Out(GroupHelp(found.group));
    return kExitOk;
  }
  if (!found.group.empty()) return UnknownCommand(found.group, words[1]);
  if (words.empty()) {
    Out(ProgramHelp());
    return kExitOk;
  }
  return UnknownCommand("", words[0]);
}

}  // namespace quorate::ctl
