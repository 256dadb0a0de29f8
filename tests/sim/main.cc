// quorate-sim: runs seeds and says what it saw. `./dev sim --help` explains the options.

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/text.h"
#include "tests/sim/world.h"

namespace quorate::sim {
namespace {

constexpr char kHelp[] =
    R"(./dev sim [OPTION...]     whole replicas in one process, on virtual time, under faults

  --seed N          one seed, with all that happened
  --seeds A..B      these seeds
  --minutes M       new seeds for so long
  --count N         so many new seeds
  --members N       instead of what the seed says
  --seconds S       of virtual time with faults, instead of what the seed says
  --no-faults       nothing goes wrong
  --stop-at-failure the first seed that fails is the last
  --until PATTERN   a seed of whose violations one matches the regular expression is the last, and
                    what is wanted
  --twice           each seed runs twice and must do the same
  --verbose         the members' own log lines
  --trace           everything that goes into the digest
)";

struct Options {
  uint64_t first = 0, last = 0;
  bool fresh = true;
  double minutes = 0;
  uint64_t count = 1;
  bool detailed = false;
  bool twice = false;
  bool stop_at_failure = false;
  bool verbose = false;
  bool trace = false;
  std::optional<std::regex> until;
  PlanWishes wishes;
  std::string text;  // as given, for the line that replays
};

const char* Commit() {
  const char* commit = std::getenv("QUORATE_COMMIT");
  return commit == nullptr ? "unknown" : commit;
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t FreshSeed() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 % 1'000'000'000'000 +
         static_cast<uint64_t>(now.tv_nsec) / 1'000;
}

[[noreturn]] void Usage(std::string_view wrong) {
  std::fprintf(stderr, "quorate-sim: %s\n%s", std::string(wrong).c_str(), kHelp);
  std::exit(2);
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&]() -> const char* {
      if (++i == argc) Usage(StrCat(name, " needs a value"));
      return argv[i];
    };
    const auto number = [&] { return std::strtoull(value(), nullptr, 10); };
    const auto kept = [&](std::string_view text) { options.text += StrCat(" ", name, text); };
    if (name == "--seed") {
      options.first = options.last = number();
      options.fresh = false;
      options.detailed = true;
    } else if (name == "--seeds") {
      const char* range = value();
      const char* dots = std::strstr(range, "..");
      if (dots == nullptr) Usage("--seeds is of the form A..B");
      options.first = std::strtoull(range, nullptr, 10);
      options.last = std::strtoull(dots + 2, nullptr, 10);
      options.fresh = false;
    } else if (name == "--minutes") {
      options.minutes = std::strtod(value(), nullptr);
    } else if (name == "--count") {
      options.count = number();
    } else if (name == "--members") {
      options.wishes.members = static_cast<uint32_t>(number());
      kept(StrCat(" ", options.wishes.members));
    } else if (name == "--seconds") {
      options.wishes.safety_ns = static_cast<int64_t>(number()) * kNanosPerSecond;
      kept(StrCat(" ", options.wishes.safety_ns / kNanosPerSecond));
    } else if (name == "--no-faults") {
      options.wishes.with_faults = false;
      kept("");
    } else if (name == "--twice") {
      options.twice = true;
    } else if (name == "--stop-at-failure") {
      options.stop_at_failure = true;
    } else if (name == "--until") {
      options.until = std::regex(value());
    } else if (name == "--trace") {
      options.trace = true;
    } else if (name == "--verbose") {
      options.verbose = true;
    } else if (name == "--help") {
      std::fputs(kHelp, stdout);
      std::exit(0);
    } else {
      Usage(StrCat("unknown option ", name));
    }
  }
  return options;
}

struct Outcome {
  Report report;
  std::string plan;
};

Outcome RunSeed(uint64_t seed, const Options& options) {
  Kernel kernel(seed);
  if (options.trace) kernel.Trace();
  const Plan plan = DrawPlan(seed, options.wishes, &kernel.random());
  Outcome outcome;
  outcome.plan = plan.ToText();
  World world(plan, &kernel);
  outcome.report = world.Run();
  return outcome;
}

// For a process that a failed CHECK ends: which seed it was, and what it had done before.
std::atomic<uint64_t> current_seed{0};
std::atomic<uint64_t> seeds_done{0};
std::atomic<uint64_t> virtual_seconds_done{0};

// Writes by itself: after a crash nothing else may be asked.
void Tell(const char* text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}
void Tell(uint64_t number) {
  char text[21] = {};
  char* digit = text + sizeof(text) - 1;
  do *--digit = static_cast<char>('0' + number % 10);
  while ((number /= 10) != 0);
  Tell(digit);
}

void TellSeed(int signal) {
  Tell("running seed ");
  Tell(current_seed);
  Tell("\nspent ");
  Tell(seeds_done + 1);
  Tell(" seeds, ");
  Tell(virtual_seconds_done);
  Tell(" virtual seconds\n");
  std::signal(signal, SIG_DFL);
  raise(signal);
}

class Session {
 public:
  explicit Session(Options options) : options_(std::move(options)) {}

  int Run() {
    const double start_cpu = CpuSeconds();
    const timespec start = Now();
    uint64_t seed = options_.fresh ? FreshSeed() : options_.first;
    const uint64_t last = options_.fresh && options_.minutes > 0 ? UINT64_MAX
                          : options_.fresh                       ? seed + options_.count - 1
                                                                 : options_.last;
    std::printf("commit %s, seeds from %llu%s\n", Commit(), static_cast<unsigned long long>(seed),
                options_.text.c_str());
    for (; seed <= last; ++seed) {
      RunOne(seed);
      if (failed_ != 0 && options_.stop_at_failure) break;
      if (found_) break;
      if (options_.minutes > 0 && Since(start) > options_.minutes * 60) break;
    }
    Summary(CpuSeconds() - start_cpu, Since(start));
    if (options_.until) {
      std::printf("spent %llu seeds, %.0f virtual seconds\n",
                  static_cast<unsigned long long>(runs_), static_cast<double>(virtual_ns_) / 1e9);
      return found_ ? 0 : 1;
    }
    return failed_ == 0 ? 0 : 1;
  }

 private:
  static timespec Now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
  }
  static double Since(const timespec& start) {
    const timespec now = Now();
    return static_cast<double>(now.tv_sec - start.tv_sec) +
           static_cast<double>(now.tv_nsec - start.tv_nsec) / 1e9;
  }

  void RunOne(uint64_t seed) {
    current_seed = seed;
    std::fflush(stdout);
    Outcome outcome = RunSeed(seed, options_);
    Report& report = outcome.report;
    if (options_.twice) {
      const Report again = RunSeed(seed, options_).report;
      if (again.digest != report.digest || again.last_draw != report.last_draw) {
        report.violations.push_back(StrCat("a second run differs: digest ", report.digest, " and ",
                                           again.digest, ", last draw ", report.last_draw, " and ",
                                           again.last_draw));
      }
    }
    ++runs_;
    virtual_ns_ += report.virtual_ns;
    seeds_done = runs_;
    virtual_seconds_done = static_cast<uint64_t>(virtual_ns_ / kNanosPerSecond);
    for (const auto& [what, times] : report.seen) seen_[what] += times;
    if (options_.detailed || !report.violations.empty()) {
      std::printf("seed %llu: %s\n  digest %016llx, last draw %016llx\n",
                  static_cast<unsigned long long>(seed), outcome.plan.c_str(),
                  static_cast<unsigned long long>(report.digest),
                  static_cast<unsigned long long>(report.last_draw));
    }
    if (report.violations.empty()) return;
    ++failed_;
    LookFor(report.violations);
    for (size_t i = 0; i < report.violations.size() && i < 8; ++i) {
      std::printf("  VIOLATION %s\n", report.violations[i].substr(0, 1500).c_str());
    }
    std::printf("  %zu violations; again: ./dev sim --seed %llu%s\n", report.violations.size(),
                static_cast<unsigned long long>(seed), options_.text.c_str());
  }

  void LookFor(const Violations& violations) {
    if (!options_.until) return;
    for (const std::string& violation : violations) {
      if (!std::regex_search(violation, *options_.until)) continue;
      found_ = true;
      std::printf("FOUND %s\n", violation.substr(0, 1500).c_str());
      return;
    }
  }

  void Summary(double cpu_seconds, double seconds) {
    for (const auto& [what, times] : seen_) {
      std::printf("  %12llu %s\n", static_cast<unsigned long long>(times), what.c_str());
    }
    const double virtual_seconds = static_cast<double>(virtual_ns_) / 1e9;
    std::printf(
        "%llu seeds, %llu failed; %.0f virtual seconds, %.0f per CPU second; %.0f seeds per "
        "minute\n",
        static_cast<unsigned long long>(runs_), static_cast<unsigned long long>(failed_),
        virtual_seconds, virtual_seconds / std::max(cpu_seconds, 1e-9),
        static_cast<double>(runs_) / std::max(seconds, 1e-9) * 60);
  }

  const Options options_;
  uint64_t runs_ = 0, failed_ = 0;
  int64_t virtual_ns_ = 0;
  bool found_ = false;  // what --until looks for
  std::map<std::string, uint64_t> seen_;
};

int Main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  std::signal(SIGABRT, TellSeed);
  std::signal(SIGSEGV, TellSeed);
  LogConfig log;
  log.format = LogConfig::Format::kConsole;
  log.level = options.verbose ? LogLevel::kInfo : LogLevel::kFatal;
  if (!ConfigureLog(log).ok()) return 2;
  return Session(std::move(options)).Run();
}

}  // namespace
}  // namespace quorate::sim

int main(int argc, char** argv) { return quorate::sim::Main(argc, argv); }
