// Every script of workloads/scripts, small, against a real etcd: Debian's, from package
// etcd-server, started in a temporary directory on free loopback ports. Without it the tests say so
// and pass.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_dir.h"
#include "base/text.h"
#include "workloads/driver.h"
#include "workloads/language.h"
#include "workloads/result.h"

namespace quorate::workload {
namespace {

constexpr char kEtcd[] = "/usr/bin/etcd";

// Starts `args` with output to `log`; answers the process id.
pid_t Spawn(const std::vector<std::string>& args, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  if (std::freopen(log.c_str(), "w", stdout) == nullptr) _exit(126);
  dup2(STDOUT_FILENO, STDERR_FILENO);
  execv(argv[0], argv.data());
  _exit(127);
}

int WaitExit(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A port that was free a moment ago.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

class Etcd {
 public:
  Etcd() { Start(); }
  ~Etcd() { Kill(); }
  void Start() {
    const std::string client = StrCat("http://127.0.0.1:", port_);
    const std::string peer = StrCat("http://127.0.0.1:", peer_port_);
    pid_ = Spawn({kEtcd, "--data-dir", dir_.path() + "/data", "--listen-client-urls", client,
                  "--advertise-client-urls", client, "--listen-peer-urls", peer,
                  "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer},
                 dir_.path() + "/log");
    REQUIRE(pid_ > 0);
    WaitUntilItAnswers();
  }
  void Kill() {
    kill(pid_, SIGKILL);
    WaitExit(pid_);
  }
  std::string endpoint() const { return StrCat("127.0.0.1:", port_); }
  const std::string& dir() const { return dir_.path(); }

 private:
  void WaitUntilItAnswers() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int64_t deadline_ns = SystemClock().MonotonicNs() + 30 * kNanosPerSecond;
    while (true) {
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      const int refused = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
      close(fd);
      if (refused == 0) return;
      REQUIRE(SystemClock().MonotonicNs() < deadline_ns);
      REQUIRE(waitpid(pid_, nullptr, WNOHANG) == 0);
      std::this_thread::yield();
    }
  }

  TempDir dir_;
  const int port_ = FreePort();
  const int peer_port_ = FreePort();
  pid_t pid_ = 0;
};

bool EtcdIsMissing() {
  if (access(kEtcd, X_OK) == 0) return false;
  WARN("SKIPPED: there is no " << kEtcd << " (Debian package etcd-server): nothing was run "
                               << "against a real server");
  return true;
}

TEST_CASE("every script passes its checks against etcd") {
  if (EtcdIsMissing()) return;
  const SystemClock clock;
  const Etcd etcd;
  struct Script {
    const char* name;
    std::vector<std::pair<std::string, std::string>> parameters;
    uint64_t least_operations;
  };
  const Script scripts[] = {
      {"write-throughput", {{"rate", "1000"}, {"key_count", "500"}}, 300},
      {"watch-latency", {{"prev_kv", "true"}, {"key_count", "200"}, {"watchers", "40"}}, 100},
      {"compaction-impact",
       {{"revisions", "3000"}, {"key_count", "200"}, {"compact_at", "200ms"}, {"retain", "100"}},
       300},
      {"mixed-kubernetes", {{"pods", "200"}, {"nodes", "20"}, {"compact_every", "200ms"}}, 150},
      {"single-client", {{"key_count", "50"}}, 50},
      {"read-latency", {{"rate", "500"}, {"key_count", "500"}, {"distribution", "zipf"}}, 200},
      {"list-large", {{"key_count", "1500"}, {"listers", "3"}, {"rate", "100"}}, 50},
      {"idle-watches", {{"watches", "300"}, {"hold", "100ms"}}, 50},
      {"cpu-per-operation", {{"rate", "500"}, {"key_count", "500"}}, 300},
      {"many-keys", {{"key_count", "2000"}, {"rest", "100ms"}}, 50},
      {"member-rejoin", {{"key_count", "500"}, {"rest", "100ms"}}, 100},
  };
  size_t found = 0;
  for (const auto& file : std::filesystem::directory_iterator(QUORATE_SCRIPTS_DIR)) {
    found += file.path().extension() == ".yaml" ? 1 : 0;
  }
  CHECK(found == std::size(scripts));
  for (const Script& script : scripts) {
    Overrides overrides;
    overrides.parameters = script.parameters;
    overrides.duration_ns = 600 * kNanosPerMilli;
    const auto workload =
        ReadWorkloadFile(StrCat(QUORATE_SCRIPTS_DIR, "/", script.name, ".yaml"), overrides);
    REQUIRE(workload.status().message() == "");
    DriverOptions options;
    options.endpoints = {etcd.endpoint()};
    options.clock = &clock;
    const auto driver = Driver::Create(*workload, std::move(options));
    REQUIRE(driver.ok());
    const RunResult result = (*driver)->Run();
    CAPTURE(script.name, SummaryText(*workload, result, (*driver)->checks()));
    CHECK(result.outcome == RunResult::Outcome::kComplete);
    CHECK(result.unknown_writes == 0);
    uint64_t operations = 0;
    for (const PhaseRecord& phase : result.phases) {
      for (const LoadRecord& load : phase.loads) {
        for (const OperationRecord& op : load.operations) {
          CHECK(op.error_count() == 0);
          if (phase.spec->measure) operations += op.ok;
        }
      }
      for (const WatchRecord& watcher : phase.watchers) {
        CHECK(watcher.errors.empty());
        CHECK(watcher.cancelled_watches == 0);
      }
    }
    CHECK(operations >= script.least_operations);
  }
}

TEST_CASE("a server that is killed under load and started again loses nothing") {
  if (EtcdIsMissing()) return;
  const SystemClock clock;
  Etcd etcd;
  const auto workload = ParseWorkload(
      "name: killed\ninterval: 20ms\nkeys: [{name: a, prefix: /a/, count: 200}]\nphases:\n"
      "  - name: w\n    duration: 1h\n    loads:\n"
      "      - {name: closed, loop: closed, clients: 8, connections: 4, timeout: 2s,\n"
      "         operations: [{op: put, keys: a}, {op: txn, keys: a}, {op: delete, keys: a},\n"
      "                      {op: get, keys: a}]}\n"
      "      - {name: open, rate: 200/s, clients: 8, timeout: 2s, operations: [{op: put, keys: "
      "a}]}\n"
      "    watchers: [{keys: a, count: 10, streams: 2, scope: slice, slice: 20}]\n",
      "test.yaml", {});
  REQUIRE(workload.status().message() == "");
  DriverOptions options;
  options.endpoints = {etcd.endpoint()};
  options.clock = &clock;
  options.progress_every_ns = 1;
  // Three times: wait until writes succeed, kill, wait until they fail, start again.
  Driver* running = nullptr;
  int kills = 0;
  bool up = true;
  uint64_t ok_since = 0;
  options.on_progress = [&](const ProgressLine& line) {
    ok_since += line.step.ok;
    if (up && ok_since > 200) {
      if (kills == 3) return running->Interrupt();
      etcd.Kill();
      ++kills;
      up = false;
    } else if (!up && line.step.errors > 0) {
      etcd.Start();
      up = true;
      ok_since = 0;
    }
  };
  const auto driver = Driver::Create(*workload, std::move(options));
  REQUIRE(driver.ok());
  running = driver->get();
  const RunResult result = running->Run();
  CAPTURE(SummaryText(running->workload(), result, running->checks()));
  CHECK(kills == 3);
  CHECK(result.outcome == RunResult::Outcome::kPartial);
  CHECK(running->checks().violations() == 0);
  CHECK(result.unknown_writes > 0);
  CHECK(result.final_keys_checked > 0);
  REQUIRE(result.phases.size() == 1);
  CHECK(result.phases[0].watchers[0].reopened_streams > 0);
  CHECK(result.phases[0].watchers[0].events > 200);
}

// Runs the program itself; answers its exit code.
int Bench(const std::vector<std::string>& args, const std::string& log,
          int interrupt_when_file_has = 0) {
  std::vector<std::string> command = {QUORATE_BENCH};
  command.insert(command.end(), args.begin(), args.end());
  const pid_t pid = Spawn(command, log);
  while (interrupt_when_file_has > 0 &&
         static_cast<int>(ReadAll(log).size()) < interrupt_when_file_has) {
    if (waitpid(pid, nullptr, WNOHANG) != 0) return -1;
  }
  if (interrupt_when_file_has > 0) kill(pid, SIGINT);
  return WaitExit(pid);
}

TEST_CASE("the program's commands, their output and exit codes") {
  const TempDir dir;
  const std::string log = dir.path() + "/log";
  const auto file = [&](const std::string& text) {
    std::ofstream(dir.path() + "/w.yaml") << text;
    return dir.path() + "/w.yaml";
  };
  CHECK(Bench({"--help"}, log) == 0);
  CHECK(ReadAll(log).find("--endpoints") != std::string::npos);
  CHECK(Bench({}, log) == 2);
  CHECK(Bench({"describe"}, log) == 0);
  CHECK(ReadAll(log).find("hot_fraction") != std::string::npos);
  CHECK(Bench({"rum", "x"}, log) == 2);
  CHECK(ReadAll(log).find("known: run, check, describe, write, disk") != std::string::npos);
  CHECK(Bench({"run"}, log) == 2);
  CHECK(Bench({"run", "x.yaml", "--endpoint", "y"}, log) == 2);
  CHECK(ReadAll(log).find("endpoints") != std::string::npos);
  CHECK(Bench({"check", dir.path() + "/none.yaml"}, log) == 2);
  CHECK(ReadAll(log).find("none.yaml") != std::string::npos);

  const std::string good = file(
      "name: x\nparameters: {n: 5}\nkeys: [{name: a, prefix: /a/}]\nphases:\n"
      "  - {name: w, duration: 1s, rate: $(n)/s, operations: [{op: put, keys: a}]}\n");
  CHECK(Bench({"check", good, "--set", "n=7", "--duration=3s", "--seed", "9"}, log) == 0);
  CHECK(ReadAll(log).find("rate: 7/s") != std::string::npos);
  CHECK(ReadAll(log).find("duration: 3s") != std::string::npos);
  CHECK(ReadAll(log).find("seed: 9") != std::string::npos);
  CHECK(Bench({"check", good, "--rate", "-1"}, log) == 2);
  CHECK(Bench({"check", good, "--set", "m=7"}, log) == 2);
  CHECK(ReadAll(log).find("known: n") != std::string::npos);
  CHECK(Bench({"check", file("name: x\nphase: []\n")}, log) == 2);
  CHECK(ReadAll(log).find("w.yaml:2: ") != std::string::npos);
  // Nobody listens there; that is no error of the command line.
  const std::string good_again = file(
      "name: x\nkeys: [{name: a, prefix: /a/}]\nphases:\n"
      "  - {name: w, duration: 1s, rate: 5/s, operations: [{op: put, keys: a}]}\n");
  CHECK(Bench({"run", good_again, "--endpoints", "127.0.0.1:1"}, log) == 1);
  CHECK(ReadAll(log).find("127.0.0.1:1") != std::string::npos);
  CHECK(Bench({"run", good_again, "--endpoints", "no endpoint"}, log) == 2);
  CHECK(Bench({"write", "--endpoints", "no endpoint"}, log) == 2);
  CHECK(Bench({"write", "FILE"}, log) == 2);
  CHECK(
      Bench({"write", "--endpoints", "127.0.0.1:1", "--duration", "1ms", "--write-timeout", "10ms"},
            log) == 1);
  CHECK(ReadAll(log).find("127.0.0.1:1") != std::string::npos);
}

TEST_CASE("the program that writes tries the endpoints that nobody listens at and goes on") {
  if (EtcdIsMissing()) return;
  const Etcd etcd;
  const std::string log = etcd.dir() + "/write.log";
  const std::string out = etcd.dir() + "/pauses.json";
  REQUIRE(Bench({"write", "--endpoints", StrCat("127.0.0.1:1,", etcd.endpoint()), "--duration",
                 "300ms", "--try-timeout", "60s", "--write-timeout", "60s", "--out", out},
                log) == 0);
  CAPTURE(ReadAll(log));
  CHECK(ReadAll(log).find(" 0 failed, 0 lost") != std::string::npos);
  const auto json = nlohmann::json::parse(ReadAll(out));
  CHECK(json["acknowledged"] > 0);
  CHECK(json["failed_tries"].dump().find("127.0.0.1:1") != std::string::npos);
}

TEST_CASE("the disk probe measures synced appends of the size asked for") {
  const TempDir dir;
  const std::string log = dir.path() + "/log";
  REQUIRE(Bench({"disk", dir.path(), "--bytes", "256B", "--count", "50"}, log) == 0);
  const auto json = nlohmann::json::parse(ReadAll(log));
  CHECK(json["bytes"] == 256);
  for (const char* variant : {"growing", "preallocated"}) {
    CHECK(json[variant]["count"] == 50);
    CHECK(json[variant]["median_ns"] > 0);
    CHECK(json[variant]["p99_ns"] >= json[variant]["median_ns"]);
  }
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);  // the log only
  CHECK(Bench({"disk", dir.path() + "/none"}, log) == 1);
  CHECK(ReadAll(log).find("/none") != std::string::npos);
}

TEST_CASE("an interrupted program leaves a partial result") {
  if (EtcdIsMissing()) return;
  const Etcd etcd;
  const std::string log = etcd.dir() + "/bench.log";
  const int code = Bench({"run", StrCat(QUORATE_SCRIPTS_DIR, "/single-client.yaml"), "--duration",
                          "1h", "--endpoints", etcd.endpoint(), "--out", etcd.dir() + "/results"},
                         log, 10);  // once a progress line is there
  CAPTURE(ReadAll(log));
  CHECK(code == 130);
  const auto json = nlohmann::json::parse(ReadAll(etcd.dir() + "/results/single-client.json"));
  CHECK(json["outcome"] == "partial");
  CHECK(json["phases"][1]["loads"][0]["operations"][0]["ok"] > 0);
  CHECK(json["checks"]["violations"] == 0);
}

}  // namespace
}  // namespace quorate::workload
