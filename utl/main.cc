// quorateutl: etcdutl's commands for Quorate's data directories and for snapshots of both, and
// inspectors. Nothing here talks to a server.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "utl/completion.h"
#include "utl/invocation.h"

namespace quorate::utl {
namespace {

using Type = OptionSpec::Type;

constexpr char kIntroduction[] = R"(quorateutl works on the files of a member that is not running.

  quorateutl snapshot status backup.db -w table       what is in a snapshot
  quorateutl snapshot restore backup.db --data-dir d  a member of a new cluster out of it
  quorateutl hashkv backup.db                         the hash that HashKV would answer
  quorateutl verify --data-dir d                      names every damaged place
  quorateutl dump log --data-dir d -w json            the entries of the log

Snapshots of etcd 3.4 to 3.7 are read, and those made here are read by etcdutl.
Exit codes: 0 done, 1 refused or damaged, 4 a format that does not exist, 128 arguments are missing.

Commands:
)";

const std::vector<Command>& Commands() {
  static const std::vector<Command> commands = [] {
    std::vector<Command> all;
    for (auto part : {SnapshotCommands(), StorageCommands(), DumpCommands(), VerifyCommands()}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return commands;
}

std::vector<OptionSpec> GlobalFlags() {
  const std::string g = "Global flags";
  return {{"timeout", Type::kDuration, "10s",
           "How long to wait for a member that is still stopping; 0s: for ever.", g},
          {"write-out", Type::kString, "simple",
           "Format: fields, json, protobuf, simple, table. Short: -w", g},
          {"help", Type::kBool, "false", "Explains the command. Short: -h", g}};
}

// Short flags as the option table knows them.
std::vector<std::string> SpellOut(const std::vector<std::string>& args) {
  std::vector<std::string> out;
  for (const std::string& arg : args) {
    if (arg == "-h") {
      out.emplace_back("--help");
    } else if (arg == "-w") {
      out.emplace_back("--write-out");
    } else if (arg.starts_with("-w") && arg.size() > 2) {
      out.push_back(StrCat("--write-out=", arg.substr(arg[2] == '=' ? 3 : 2)));
    } else {
      out.push_back(arg);
    }
  }
  return out;
}

void PrintHelp() {
  Out(kIntroduction);
  for (const Command& command : Commands()) {
    std::printf("  %-18s %s\n", command.name.c_str(), command.help.c_str());
  }
  std::printf("  %-18s %s\n  %-18s %s\n\n", "completion", "Prints a completion script for a shell",
              "version", "Shows the version");
  Out(OptionValues(GlobalFlags()).HelpText());
}

void PrintCommandHelp(const Command& command) {
  std::printf("%s\n\nUsage:\n  quorateutl %s %s\n\n", command.help.c_str(), command.name.c_str(),
              command.arguments.c_str());
  if (!command.flags.empty()) Out(OptionValues(command.flags).HelpText() + "\n");
  Out(OptionValues(GlobalFlags()).HelpText());
}

std::optional<Format> ParseFormat(const std::string& text) {
  static constexpr std::pair<std::string_view, Format> kFormats[] = {
      {"simple", Format::kSimple},     {"json", Format::kJson},   {"fields", Format::kFields},
      {"protobuf", Format::kProtobuf}, {"table", Format::kTable},
  };
  for (const auto& [name, format] : kFormats) {
    if (text == name) return format;
  }
  return std::nullopt;
}

int RunCommand(const Command& command, const std::vector<std::string>& args) {
  std::vector<OptionSpec> specs = GlobalFlags();
  specs.insert(specs.end(), command.flags.begin(), command.flags.end());
  OptionValues values(std::move(specs));
  auto words = values.ParseFlags(args);
  if (!words.ok()) return Fail(words.status());
  if (values.GetBool("help")) {
    PrintCommandHelp(command);
    return kExitOk;
  }
  const std::optional<Format> format = ParseFormat(values.GetString("write-out"));
  if (!format) return Fail(kExitBadFeature, "unsupported output format");
  std::vector<std::string> missing;
  for (const std::string& name : command.required) {
    if (values.GetString(name).empty()) missing.push_back(StrCat("\"", name, "\""));
  }
  if (!missing.empty()) {
    return Fail(kExitError, StrCat("required flag(s) ", StrJoin(missing, ", "), " not set"));
  }
  return command.run({std::move(values), *std::move(words), *format});
}

// The command whose words stand at the front; takes them out.
const Command* TakeCommand(std::vector<std::string>* args) {
  for (const size_t count : {size_t{2}, size_t{1}}) {
    if (args->size() < count) continue;
    const std::string name = StrJoin(
        std::vector<std::string>(args->begin(), args->begin() + static_cast<ptrdiff_t>(count)),
        " ");
    for (const Command& command : Commands()) {
      if (command.name != name) continue;
      args->erase(args->begin(), args->begin() + static_cast<ptrdiff_t>(count));
      return &command;
    }
  }
  return nullptr;
}

std::string GroupHelp(const std::string& group) {
  std::string text;
  for (const Command& command : Commands()) {
    if (command.name.starts_with(group + " ")) {
      StrAppend(&text, "  quorateutl ", command.name, " ", command.arguments, "\n      ",
                command.help, "\n");
    }
  }
  return text;
}

int Main(const std::vector<std::string>& all) {
  LogConfig log;
  log.format = LogConfig::Format::kConsole;
  if (const absl::Status configured = ConfigureLog(log); !configured.ok()) return Fail(configured);
  std::vector<std::string> args = SpellOut(all);
  // Global flags may stand before the command.
  const auto command_at =
      std::find_if(args.begin(), args.end(), [](const std::string& arg) { return arg[0] != '-'; });
  const auto is_value = [&](auto at) {
    return at != args.begin() && at != args.end() &&
           (*(at - 1) == "--write-out" || *(at - 1) == "--timeout");
  };
  std::rotate(args.begin(), is_value(command_at) ? command_at + 1 : command_at, args.end());
  if (const Command* command = TakeCommand(&args)) return RunCommand(*command, args);
  const std::string word = args.empty() ? "help" : args[0];
  if (word == "help" || word == "--help") {
    PrintHelp();
    return kExitOk;
  }
  if (word == "version") {
    std::printf("quorateutl version: %s\nAPI version: 3.7\n", QUORATE_VERSION);
    return kExitOk;
  }
  if (word == "completion") return Completion(args, Commands(), GlobalFlags());
  if (const std::string group = GroupHelp(word); !group.empty()) {
    Out(group);
    return kExitOk;
  }
  return Fail(kExitError, StrCat("unknown command \"", word,
                                 "\" for \"quorateutl\"\nRun 'quorateutl --help' for usage."));
}

}  // namespace
}  // namespace quorate::utl

int main(int argc, char** argv) {
  const int code = quorate::utl::Main({argv + 1, argv + argc});
  std::fflush(stdout);
  return code;
}
