// quoratectl: etcdctl's commands, flags, environment and output for everything that this version of
// Quorate serves. Works with any etcd.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/text.h"
#include "ctl/session.h"

extern char** environ;

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

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
2 a stream failed, 3 a transaction that cannot be read, 4 a format or order that does not exist,
5 a watch was canceled, 128 arguments are missing or malformed.

Commands:
)";

constexpr char kNoTls[] = "this version of quoratectl speaks plain text only";
constexpr char kNoUsers[] = "this version of quoratectl does not sign in";

std::vector<OptionSpec> GlobalFlags() {
  const std::string g = "Global flags";
  std::vector<OptionSpec> flags = {
      {"endpoints", Type::kStringList, "127.0.0.1:2379", "Servers to ask, in turn.", g},
      {"command-timeout", Type::kDuration, "5s", "Time for a command, all tries together.", g},
      {"dial-timeout", Type::kDuration, "2s", "Time for one attempt to connect.", g},
      {"write-out", Type::kString, "simple",
       "Format: fields, json, protobuf, simple, table. Short: -w", g},
      {"hex", Type::kBool, "false", "Shows bytes and ids in hexadecimal.", g},
      {"max-recv-bytes", Type::kInt, "0", "Largest answer accepted; 0 means no limit.", g},
      {"help", Type::kBool, "false", "Explains the command. Short: -h", g},
  };
  const auto without_effect = [&](std::string name, Type type, std::string fallback,
                                  std::string why) {
    OptionSpec spec{std::move(name), type, std::move(fallback), "", g};
    spec.no_effect = std::move(why);
    flags.push_back(std::move(spec));
  };
  without_effect("debug", Type::kBool, "false", "there is no more to tell");
  without_effect("keepalive-time", Type::kDuration, "2s", "connections are short-lived here");
  without_effect("keepalive-timeout", Type::kDuration, "6s", "connections are short-lived here");
  without_effect("insecure-transport", Type::kBool, "true", kNoTls);
  without_effect("insecure-discovery", Type::kBool, "true", "discovery is not here");
  without_effect("max-request-bytes", Type::kInt, "0", "the server's limit counts");
  for (OptionSpec& flag : flags) {
    if (flag.type == Type::kDuration) flag.min = 1;
  }
  return flags;
}

// What a person asks for with these cannot be given, so it is refused and not ignored.
struct Refused {
  const char* name;
  const char* why;
};
constexpr Refused kRefused[] = {
    {"cacert", kNoTls},
    {"cert", kNoTls},
    {"key", kNoTls},
    {"insecure-skip-tls-verify", kNoTls},
    {"user", kNoUsers},
    {"password", kNoUsers},
    {"auth-jwt-token", kNoUsers},
    {"discovery-srv", "it does not look up servers by DNS"},
    {"discovery-srv-name", "it does not look up servers by DNS"},
};

const std::vector<Command>& Commands() {
  static const std::vector<Command> commands = [] {
    std::vector<Command> all;
    for (auto part :
         {KvCommands(), TxnCommands(), WatchCommands(), LeaseCommands(), ClusterCommands()}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return commands;
}

// Arguments in the form that the option table reads: short flags spelled out.
std::vector<std::string> SpellOut(const std::vector<std::string>& args) {
  std::vector<std::string> out;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "-h") {
      out.emplace_back("--help");
    } else if (arg == "-i") {
      out.emplace_back("--interactive");
    } else if (arg.starts_with("-w") && arg.size() > 2) {
      out.push_back(StrCat("--write-out=", arg.substr(arg[2] == '=' ? 3 : 2)));
    } else if (arg == "-w" && i + 1 < args.size()) {
      out.push_back(StrCat("--write-out=", args[++i]));
    } else {
      out.push_back(arg);
    }
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
    const std::string name = args[i].substr(args[i].find_first_not_of('-') == std::string::npos
                                                ? args[i].size()
                                                : args[i].find_first_not_of('-'));
    const auto it = std::find_if(globals.begin(), globals.end(),
                                 [&](const OptionSpec& spec) { return spec.name == name; });
    if (it != globals.end() && it->type != Type::kBool) ++i;  // its value stands by itself
  }
  return places;
}

// The command that the words name; takes them out of *args. Null when there is none.
const Command* TakeCommand(std::vector<std::string>* args) {
  const std::vector<size_t> places = CommandWords(*args);
  for (size_t count : {size_t{2}, size_t{1}}) {
    if (places.size() < count) continue;
    std::string name = (*args)[places[0]];
    if (count == 2) StrAppend(&name, " ", (*args)[places[1]]);
    for (const Command& command : Commands()) {
      if (command.name != name) continue;
      for (size_t i = count; i > 0; --i) {
        args->erase(args->begin() + static_cast<std::ptrdiff_t>(places[i - 1]));
      }
      return &command;
    }
  }
  return nullptr;
}

void PrintHelp() {
  std::fputs(kIntroduction, stdout);
  for (const Command& command : Commands()) {
    std::printf("  %-18s %s\n", command.name.c_str(), command.help.c_str());
  }
  std::printf("  %-18s %s\n  %-18s %s\n\n", "version", "Shows the version", "options",
              "Shows the global flags");
  std::fputs(OptionValues(GlobalFlags()).HelpText().c_str(), stdout);
}

void PrintCommandHelp(const Command& command) {
  std::printf("%s\n\nUsage:\n  quoratectl %s %s\n", command.help.c_str(), command.name.c_str(),
              command.arguments.c_str());
  std::vector<OptionSpec> flags = command.flags;
  for (OptionSpec& flag : flags) flag.group = "Flags";
  if (!flags.empty()) std::printf("\n%s", OptionValues(flags).HelpText().c_str());
  std::printf("\n`quoratectl options` lists the global flags.\n");
}

// ETCDCTL_ENDPOINTS and so on. A flag counts more than the environment.
absl::Status ReadEnvironment(const std::vector<std::string>& given, OptionValues* values) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    auto [variable, text] = SplitOnce(*entry, '=');
    std::string_view rest = variable;
    if (!ConsumePrefix(&rest, "ETCDCTL_") || rest == "API" || rest.starts_with("WATCH_")) continue;
    std::string name(rest);
    for (char& c : name) c = c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    for (const Refused& refused : kRefused) {
      if (name == refused.name && !text.empty()) {
        return absl::InvalidArgumentError(ToAbsl(StrCat(variable, ": ", refused.why)));
      }
    }
    const OptionSpec* spec = values->Find(name);
    if (spec == nullptr || spec->group != "Global flags") {
      std::fprintf(stderr, "quoratectl: %s is set and known to no flag\n",
                   std::string(variable).c_str());
      continue;
    }
    if (std::find(given.begin(), given.end(), name) != given.end()) continue;
    const auto status = values->Set(name, text, OptionSource::kEnvironment, variable);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RefuseUnserved(const std::vector<std::string>& args) {
  for (const std::string& arg : args) {
    std::string_view name = arg;
    if (!ConsumePrefix(&name, "--")) continue;
    name = SplitOnce(name, '=').first;
    for (const Refused& refused : kRefused) {
      if (name == refused.name) {
        return absl::InvalidArgumentError(ToAbsl(StrCat("--", name, ": ", refused.why)));
      }
    }
  }
  return absl::OkStatus();
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

int UnknownCommand(const std::vector<std::string>& args) {
  std::string known;
  for (const Command& command : Commands())
    StrAppend(&known, known.empty() ? "" : ", ", command.name);
  const std::vector<size_t> places = CommandWords(args);
  const std::string word = places.empty() ? "" : args[places[0]];
  return Fail(kExitError, StrCat("unknown command \"", word, "\" for \"quoratectl\"\nknown: ",
                                 known, "\nRun 'quoratectl --help' for usage."));
}

int RunCommand(const Command& command, const std::vector<std::string>& args,
               const std::vector<std::string>& behind) {
  if (auto status = RefuseUnserved(args); !status.ok()) {
    return Fail(kExitError, ToStd(status.message()));
  }
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
  if (!words.ok()) return Fail(kExitError, ToStd(words.status().message()));
  if (values.GetBool("help")) {
    PrintCommandHelp(command);
    return kExitOk;
  }
  std::vector<std::string> given;
  for (const OptionSpec& spec : values.specs()) {
    if (values.Source(spec.name) == OptionSource::kFlag) given.push_back(spec.name);
  }
  if (auto status = ReadEnvironment(given, &values); !status.ok()) {
    return Fail(kExitError, ToStd(status.message()));
  }
  Format format = Format::kSimple;
  if (!ParseFormat(values.GetString("write-out"), &format)) {
    return Fail(kExitBadFeature, "unsupported output format");
  }
  // What stands behind "--" are words; watch also wants to know where they begin.
  if (!behind.empty() && command.name == "watch") words->emplace_back("--");
  words->insert(words->end(), behind.begin(), behind.end());
  Session session(std::move(values), *std::move(words), format);
  return command.run(&session);
}

int Main(std::vector<std::string> all) {
  const auto dashes = std::find(all.begin(), all.end(), "--");
  const std::vector<std::string> behind(dashes == all.end() ? dashes : dashes + 1, all.end());
  std::vector<std::string> args = SpellOut({all.begin(), dashes});
  if (const Command* command = TakeCommand(&args)) return RunCommand(*command, args, behind);
  const std::vector<size_t> places = CommandWords(args);
  const std::string word = places.empty() ? "help" : args[places[0]];
  if (word == "version") {
    std::printf("quoratectl version: %s\nAPI version: 3.7\n", QUORATE_VERSION);
    return kExitOk;
  }
  if (word == "options") {
    std::fputs(OptionValues(GlobalFlags()).HelpText().c_str(), stdout);
    return kExitOk;
  }
  if (word == "help") {
    PrintHelp();
    return kExitOk;
  }
  return UnknownCommand(args);
}

}  // namespace
}  // namespace quorate::ctl

int main(int argc, char** argv) {
  const int code = quorate::ctl::Main({argv + 1, argv + argc});
  std::fflush(stdout);
  return code;
}
