// quorate-bench: drives any etcd endpoint with a workload, verifies every answer, and says how long
// they took. See HelpText for the commands and exit codes.
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/file_env.h"
#include "base/options.h"
#include "base/status_util.h"
#include "base/text.h"
#include "workloads/disk_probe.h"
#include "workloads/driver.h"
#include "workloads/failover_writer.h"
#include "workloads/language.h"
#include "workloads/progress.h"
#include "workloads/result.h"

namespace quorate::workload {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitVoid = 3;
constexpr int kExitInterrupted = 130;

constexpr char kIntroduction[] =
    R"(quorate-bench drives an etcd endpoint with a workload and verifies every answer.

  quorate-bench run FILE [flags]   run a workload (see workloads/scripts)
  quorate-bench check FILE         parse only; print the workload with all defaults filled in
  quorate-bench describe           the workload language, key by key
  quorate-bench write [flags]      puts that try again, at every endpoint in turn, until answered;
                                   tells the pauses while members of a cluster come and go
  quorate-bench disk DIR           what one durable append costs on the disk of DIR, as JSON

First steps:
  quorate-bench run workloads/scripts/write-throughput.yaml --endpoints 127.0.0.1:2379
  quorate-bench run workloads/scripts/write-throughput.yaml --set clients=500 --rate 20000 \
      --duration 30s --out results/
  quorate-bench write --endpoints 127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379 --duration 1m

Loops are open unless a workload says otherwise: operations are due at a rate whatever the server
does, and their latency counts from when they were due, so a server that stalls cannot hide it.
"service" in the result is the time from sending instead.

The live line goes to standard error, the table at the end to standard output. --out writes
everything measured, raw, as JSON.

Exit codes: 0 the run is complete; 1 it could not be run to its end; 2 the command line or the
workload is wrong; 3 the server gave a wrong answer or lost an acknowledged write, the run is void;
130 interrupted, the result is marked partial ("write" is complete whenever it is interrupted).

)";

OptionSpec Flag(std::string name, OptionSpec::Type type, std::string fallback, std::string help,
                std::string group) {
  OptionSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.default_text = std::move(fallback);
  spec.help = std::move(help);
  spec.group = std::move(group);
  return spec;
}

std::vector<OptionSpec> Flags() {
  using Type = OptionSpec::Type;
  std::vector<OptionSpec> flags = {
      Flag("endpoints", Type::kStringList, "127.0.0.1:2379",
           "Servers; connections go to them in turn.", "run, write"),
      Flag("cacert", Type::kString, "", "Roots that the server's certificate must lead to (PEM).",
           "run, write"),
      Flag("cert", Type::kString, "", "Certificate to show the server (PEM).", "run, write"),
      Flag("key", Type::kString, "", "Its private key.", "run, write"),
      Flag("user", Type::kString, "", "name[:password] to sign in with.", "run, write"),
      Flag("password", Type::kString, "", "The password, apart from --user.", "run, write"),
      Flag("set", Type::kString, "",
           "name=value: replaces a parameter of the workload. May be given often.", "run, check"),
      Flag("duration", Type::kDuration, "0s",
           "Replaces the duration of every measured phase. 0s: as in the file, and for write until "
           "it is interrupted.",
           "run, check, write"),
      Flag("rate", Type::kString, "",
           "Replaces the rate of every measured open loop, such as 5000 or 5000/s.", "run, check"),
      Flag("seed", Type::kString, "", "Replaces the workload's seed.", "run, check"),
      Flag("out", Type::kString, "",
           "Writes the result: to this file if it ends in .json, else to <name>.json in this "
           "directory. For write the pauses, to this file.",
           "run, write"),
      Flag("threads", Type::kInt, "1",
           "Threads of the driver. Loads with own_thread get one more each.", "run"),
      Flag("plain", Type::kBool, "false", "Plain progress lines also on a terminal.", "run"),
      Flag("clients", Type::kInt, "3", "Clients; each begins at another endpoint.", "write"),
      Flag("every", Type::kDuration, "2ms", "From an answer to the client's next write.", "write"),
      Flag("try-timeout", Type::kDuration, "100ms",
           "Of one try. A server that is silent costs a pause of this length at least.", "write"),
      Flag("write-timeout", Type::kDuration, "10s",
           "Of a write, all tries together: afterwards it counts as failed.", "write"),
      Flag("pause-min", Type::kDuration, "5ms",
           "A pause is a span in which no write of any client was acknowledged; shorter ones are "
           "not listed.",
           "write"),
      Flag("bytes", Type::kBytes, "256", "Size of one record.", "disk"),
      Flag("count", Type::kInt, "2000", "Number of records.", "disk"),
      Flag("help", Type::kBool, "false", "This text.", "help"),
  };
  for (OptionSpec& flag : flags) {
    if (flag.name == "threads") flag.min = 1, flag.max = 64;
    if (flag.name == "bytes") flag.min = 1, flag.max = 64 << 20;
    if (flag.name == "count") flag.min = 1, flag.max = 1'000'000;
    if (flag.name == "duration" || flag.name == "every") flag.min = 0;
    if (flag.name == "clients") flag.min = 1, flag.max = 1000;
    if (flag.name == "try-timeout" || flag.name == "write-timeout" || flag.name == "pause-min") {
      flag.min = kNanosPerMilli;
    }
  }
  return flags;
}

int Complain(const absl::Status& status, int code) {
  std::fprintf(stderr, "quorate-bench: %s\n", std::string(status.message()).c_str());
  return code;
}

// Takes every --set out of the arguments: the option table keeps only the last of a name.
absl::StatusOr<std::vector<std::string>> TakeSets(const std::vector<std::string>& args,
                                                  Overrides* overrides) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view pair;
    if (args[i] == "--set" && i + 1 < args.size()) {
      pair = args[++i];
    } else if (args[i].starts_with("--set=")) {
      pair = std::string_view(args[i]).substr(6);
    } else {
      rest.push_back(args[i]);
      continue;
    }
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return absl::InvalidArgumentError(
          ToAbsl(StrCat("--set needs name=value, such as --set rate=5000, not '", pair, "'")));
    }
    overrides->parameters.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  return rest;
}

template <class Number>
absl::StatusOr<Number> ParseNumber(std::string_view flag, std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= 0)) {
    return absl::InvalidArgumentError(
        ToAbsl(StrCat("--", flag, ": '", text, "' is not a number of 0 or more")));
  }
  return number;
}

absl::Status FillOverrides(const OptionValues& flags, Overrides* overrides) {
  if (flags.GetInt("duration") > 0) overrides->duration_ns = flags.GetInt("duration");
  if (std::string_view rate = flags.GetString("rate"); !rate.empty()) {
    if (rate.ends_with("/s")) rate.remove_suffix(2);
    QR_ASSIGN_OR_RETURN(overrides->rate, ParseNumber<double>("rate", rate));
    if (*overrides->rate <= 0) return absl::InvalidArgumentError("--rate must be above 0");
  }
  if (!flags.GetString("seed").empty()) {
    QR_ASSIGN_OR_RETURN(overrides->seed, ParseNumber<int64_t>("seed", flags.GetString("seed")));
  }
  return absl::OkStatus();
}

// --- run

std::atomic<Driver*> running_driver{nullptr};
std::atomic<FailoverWriter*> running_writer{nullptr};
static_assert(std::atomic<Driver*>::is_always_lock_free, "a signal handler uses it");

void OnSignal(int) {
  if (Driver* driver = running_driver.load()) driver->Interrupt();
  if (FailoverWriter* writer = running_writer.load()) writer->Interrupt();
}

void CatchSignals() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  // A second signal ends the program at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

absl::Status WriteResult(const std::string& out, const Workload& workload,
                         const std::string& json) {
  std::string path = out;
  if (!path.ends_with(".json")) {
    QR_RETURN_IF_ERROR(PosixFileEnv()->MakeDirs(path));
    path = StrCat(path, "/", workload.name, ".json");
  }
  QR_RETURN_IF_ERROR(WriteFileAtomically(PosixFileEnv(), path, json));
  std::fprintf(stderr, "wrote %s\n", path.c_str());
  return absl::OkStatus();
}

int ExitCodeOf(RunResult::Outcome outcome) {
  switch (outcome) {
    case RunResult::Outcome::kComplete:
      return kExitOk;
    case RunResult::Outcome::kPartial:
      return kExitInterrupted;
    case RunResult::Outcome::kVoid:
      return kExitVoid;
    case RunResult::Outcome::kFailed:
      return kExitFailed;
  }
  return kExitFailed;
}

// Wrong words, or a server that refuses.
int ExitCodeOf(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailed;
}

int RunWorkload(const Workload& workload, const OptionValues& flags) {
  static const SystemClock clock;
  const bool terminal = isatty(STDERR_FILENO) != 0 && !flags.GetBool("plain");
  ProgressDisplay display(terminal ? ProgressDisplay::Style::kTerminal
                                   : ProgressDisplay::Style::kPlain);
  DriverOptions options;
  options.endpoints = flags.GetList("endpoints");
  if (const auto read = ReadCredentials(flags); read.ok()) {
    options.credentials = *read;
  } else {
    return Complain(read.status(), kExitUsage);
  }
  options.threads = flags.GetInt("threads");
  options.clock = &clock;
  options.on_progress = [&](const ProgressLine& line) { display.Show(line); };
  options.progress_every_ns = display.every_ns();
  auto driver = Driver::Create(workload, std::move(options));
  if (!driver.ok()) return Complain(driver.status(), ExitCodeOf(driver.status()));
  running_driver = driver->get();
  CatchSignals();
  const RunResult result = (*driver)->Run();
  running_driver = nullptr;
  display.Finish();
  const CheckLog& checks = (*driver)->checks();
  std::fputs(SummaryText((*driver)->workload(), result, checks).c_str(), stdout);
  std::fflush(stdout);
  if (!flags.GetString("out").empty()) {
    const absl::Status written = WriteResult(flags.GetString("out"), workload,
                                             ResultJson((*driver)->workload(), result, checks));
    if (!written.ok()) return Complain(written, kExitFailed);
  }
  return ExitCodeOf(result.outcome);
}

int WriteCommand(const OptionValues& flags) {
  static const SystemClock clock;
  FailoverWriterOptions options;
  options.endpoints = flags.GetList("endpoints");
  if (const auto read = ReadCredentials(flags); read.ok()) {
    options.credentials = *read;
  } else {
    return Complain(read.status(), kExitUsage);
  }
  options.clock = &clock;
  options.clients = flags.GetInt("clients");
  options.duration_ns = flags.GetInt("duration");
  options.every_ns = flags.GetInt("every");
  options.try_timeout_ns = flags.GetInt("try-timeout");
  options.write_timeout_ns = flags.GetInt("write-timeout");
  options.pause_min_ns = flags.GetInt("pause-min");
  const auto writer = FailoverWriter::Create(std::move(options));
  if (!writer.ok()) return Complain(writer.status(), ExitCodeOf(writer.status()));
  running_writer = writer->get();
  CatchSignals();
  const auto result = (*writer)->Run();
  running_writer = nullptr;
  if (!result.ok()) return Complain(result.status(), kExitFailed);
  std::fputs(FailoverSummary(*result).c_str(), stdout);
  if (const std::string& out = flags.GetString("out"); !out.empty()) {
    const absl::Status written = WriteFileAtomically(PosixFileEnv(), out, FailoverJson(*result));
    if (!written.ok()) return Complain(written, kExitFailed);
  }
  return result->lost > 0 ? kExitVoid : kExitOk;
}

int ProbeDiskCommand(const std::string& dir, const OptionValues& flags) {
  static const SystemClock clock;
  const int64_t bytes = flags.GetInt("bytes");
  const auto probe = ProbeDisk(PosixFileEnv(), &clock, dir, bytes, flags.GetInt("count"));
  if (!probe.ok()) return Complain(probe.status(), kExitFailed);
  std::fputs(DiskProbeJson(*probe, dir, bytes).c_str(), stdout);
  return kExitOk;
}

int Main(const std::vector<std::string>& args) {
  OptionValues flags(Flags());
  Overrides overrides;
  const auto rest = TakeSets(args, &overrides);
  if (!rest.ok()) return Complain(rest.status(), kExitUsage);
  const auto words = flags.ParseFlags(*rest);
  if (!words.ok()) return Complain(words.status(), kExitUsage);
  const std::string command = words->empty() ? "help" : words->front();
  if (command == "help" || flags.GetBool("help")) {
    std::printf("%s%s", kIntroduction, flags.HelpText().c_str());
    return words->empty() && !flags.GetBool("help") ? kExitUsage : kExitOk;
  }
  if (command == "describe") {
    std::fputs(DescribeLanguage().c_str(), stdout);
    return kExitOk;
  }
  if (command == "write" && words->size() == 1) return WriteCommand(flags);
  if (command == "write") {
    return Complain(absl::InvalidArgumentError("write needs flags only"), kExitUsage);
  }
  if (command != "run" && command != "check" && command != "disk") {
    return Complain(
        absl::InvalidArgumentError(ToAbsl(
            StrCat("unknown command '", command, "'; known: run, check, describe, write, disk"))),
        kExitUsage);
  }
  if (words->size() != 2) {
    return Complain(absl::InvalidArgumentError(
                        ToAbsl(StrCat(command, " needs one ", command == "disk" ? "DIR" : "FILE"))),
                    kExitUsage);
  }
  if (command == "disk") return ProbeDiskCommand((*words)[1], flags);
  const absl::Status filled = FillOverrides(flags, &overrides);
  if (!filled.ok()) return Complain(filled, kExitUsage);
  const auto workload = ReadWorkloadFile((*words)[1], overrides);
  if (!workload.ok()) return Complain(workload.status(), kExitUsage);
  if (command == "run") return RunWorkload(*workload, flags);
  std::fputs(PrintWorkload(*workload).c_str(), stdout);
  return kExitOk;
}

}  // namespace
}  // namespace quorate::workload

int main(int argc, char** argv) {
  return quorate::workload::Main(std::vector<std::string>(argv + 1, argv + argc));
}
