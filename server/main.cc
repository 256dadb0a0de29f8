// quorate: the server program. Started under the name `etcd` it answers --version as etcd 3.7 does.

#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/concerning.h"
#include "base/log.h"
#include "base/text.h"
#include "proxy/grpc_proxy_command.h"
#include "server/config.h"
#include "server/config_text.h"
#include "server/flags.h"
#include "server/gateway_command.h"
#include "server/node.h"
#include "server/sd_notify.h"
#include "server/stop_signals.h"

extern char** environ;

namespace quorate::server {
namespace {

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void PrintVersion(const std::string& program) {
  const std::string platform = "linux/amd64";
  if (program == "etcd") {
    std::printf("etcd Version: %s\nGit SHA: quorate-%s\nGo Version: none (C++20)\nGo OS/Arch: %s\n",
                kEtcdVersion, kQuorateVersion, platform.c_str());
  } else {
    std::printf("quorate Version: %s\netcd API: %s\nCompiler: %s\nOS/Arch: %s\n", kQuorateVersion,
                kEtcdVersion, __VERSION__, platform.c_str());
  }
}

constexpr char kUsage[] = R"(Usage:

  quorate [flags]
      Start an etcd-compatible server. Flags and ETCD_* variables are etcd's own.

  quorate gateway start [flags]
      Hand TCP connections on to the members of a cluster; --help lists the flags.

  quorate grpc-proxy start [flags]
      Hand calls on to the members of a cluster, many clients' watches and reads as one; --help
      lists the flags.

  quorate --version
  quorate --help

First steps:

  quorate --data-dir /tmp/q                 serve on http://localhost:2379
  etcdctl put greeting hello && etcdctl get greeting

)";

// What the process tells itself when its member was removed from the cluster.
const int kRemovedSignal = SIGRTMIN;

void LogAcceptedWithoutEffect(const OptionValues& values) {
  for (const OptionSpec& spec : values.specs()) {
    if (values.Source(spec.name) == OptionSource::kDefault || spec.no_effect.empty()) continue;
    if (spec.name == "max-snapshots") {
      LogWarn("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8");
    } else if (spec.name == "v2-deprecation") {
      LogWarn(
          "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value "
          "is enforced, ignoring user input");
    }
    LogInfo("flag is accepted and has no effect",
            {{"flag", StrCat("--", spec.name)}, {"why", spec.no_effect}});
  }
}

// The flags that a misspelt variable may have meant.
std::string HintFor(std::string_view variable) {
  std::string option(variable.substr(sizeof("ETCD_") - 1));
  for (char& c : option) c = c == '_' ? '-' : absl::ascii_tolower(c);
  OptionValues values(ServerOptionSpecs());
  return std::string(values.Set(option, "", OptionSource::kEnvironment, variable).message());
}

void LogStart(const std::vector<std::string>& args, const ServerConfig& config,
              const ParsedCommandLine& parsed) {
  LogInfo("Running: ", {{"args", args}});
  for (const std::string& name : parsed.warnings) {
    LogWarn("unrecognized environment variable",
            {{"environment-variable", name}, {"hint", HintFor(name)}});
  }
  LogAcceptedWithoutEffect(parsed.values);
  if (config.log_sync == "none") {
    LogWarn(
        "the log is not synced: acknowledged writes WILL be lost on power failure; "
        "--log-sync=none is for experiments only");
  }
  std::string options = "{";
  for (const OptionSpec& spec : parsed.values.specs()) {
    if (spec.hidden) continue;
    const LogField field(spec.name, parsed.values.Text(spec.name));
    StrAppend(&options, options.size() > 1 ? "," : "", "\"", field.name, "\":", field.json);
  }
  LogInfo("starting an etcd server", {{"etcd-version", kEtcdVersion},
                                      {"quorate-version", kQuorateVersion},
                                      {"name", config.name},
                                      {"data-dir", config.data_dir},
                                      {"snapshot-catchup-entries", config.catchup_entries},
                                      {"v2-deprecation", "write-only"},
                                      LogField::Json("options", options + "}")});
}

// The last line of a start that failed, in etcd's words; exit code 1.
[[noreturn]] void FailStart(const absl::Status& status) {
  NotifyStatus(std::string(status.message()));
  Log(LogLevel::kFatal, "discovery failed", {{"error", std::string(status.message())}});
  std::exit(1);
}

// What the operator set cannot be used; answers the exit code.
int RefuseOptions(std::string_view why) {
  LogWarn("failed to verify flags", {{"error", std::string(why)}});
  NotifyStatus(why);
  return 1;
}

void NotifyInitDaemon() {
  LogInfo("notifying init daemon");
  if (absl::Status notified = NotifyReady(); notified.ok()) {
    LogInfo("successfully notified init daemon");
  } else {
    LogWarn("failed to notify init daemon", {notified});
  }
}

int Main(int argc, char** argv) {
  const std::vector<std::string> args(argv, argv + argc);
  if (argc > 1 && args[1] == "gateway") return RunGatewayCommand({args.begin() + 2, args.end()});
  if (argc > 1 && args[1] == "grpc-proxy") {
    return proxy::RunGrpcProxyCommand({args.begin() + 2, args.end()});
  }
  std::vector<std::string> environment;
  for (char** item = environ; *item != nullptr; ++item) environment.emplace_back(*item);
  ParsedCommandLine parsed{OptionValues(ServerOptionSpecs()), {}, false, false, false, ""};
  const UsageError error = ParseCommandLine({args.begin() + 1, args.end()}, environment, &parsed);
  if (error.exit_code == 2) {
    std::fprintf(stderr, "%s\nRun '%s --help' for all flags.\n", error.message.c_str(),
                 BaseName(args[0]).c_str());
    return 2;
  }
  if (parsed.help) {
    std::printf("%s%s", kUsage, parsed.values.HelpText().c_str());
    return 0;
  }
  if (parsed.print_config) {
    std::printf("%s", ConfigFileText(parsed.values.specs()).c_str());
    return 0;
  }
  if (parsed.version) {
    PrintVersion(BaseName(args[0]));
    return 0;
  }
  if (error.exit_code != 0) return RefuseOptions(error.message);
  absl::StatusOr<ServerConfig> config = MakeServerConfig(parsed.values);
  absl::Status status = config.status();
  if (status.ok()) status = Concerning("--log-outputs", ConfigureLog(config->log));
  if (!status.ok()) return RefuseOptions(std::string(status.message()));
  const sigset_t signals = StopSignals({kRemovedSignal});
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  LogStart(args, *config, parsed);

  absl::StatusOr<std::unique_ptr<Node>> node =
      Node::Open(*config, [] { kill(getpid(), kRemovedSignal); });
  if (!node.ok()) FailStart(node.status());
  NotifyStatus("waiting for a leader, which a majority of the members elects");
  (*node)->Start(NotifyInitDaemon);

  int signal_number = 0;
  sigwait(&signals, &signal_number);
  if (signal_number == SIGQUIT) _exit(2);
  if (signal_number == kRemovedSignal) {
    (*node)->Stop();
    LogError("server error",
             {{"error", "the member has been permanently removed from the cluster"}});
    LogError("data-dir used by this member must be removed");
    return 0;
  }
  LogInfo("received signal; shutting down",
          {{"signal", signal_number == SIGINT ? "interrupt" : "terminated"}});
  (*node)->Stop();
  EndBySignal(signal_number);
}

}  // namespace
}  // namespace quorate::server

int main(int argc, char** argv) { return quorate::server::Main(argc, argv); }
