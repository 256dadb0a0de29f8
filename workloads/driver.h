// Driver: runs a workload against a server and says what came of it. The library behind
// `quorate-bench run`, and what tests use that need load with verified answers (a kill test runs
// one Driver while it kills and restarts the server, and looks at the result's checks).
//
// Run blocks; Interrupt may be called from any thread or signal handler and ends the run cleanly:
// what was measured so far is kept, outstanding requests end, watches and the final state are
// still checked.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "workloads/check_log.h"
#include "workloads/model.h"
#include "workloads/recorder.h"
#include "workloads/worker.h"
#include "workloads/workload.h"

namespace quorate::workload {

struct ProgressLine {
  std::string phase;
  bool measured = true;
  int64_t elapsed_ns = 0;   // of the phase
  int64_t duration_ns = 0;  // 0 = ends by count
  int64_t step_ns = 0;      // what the numbers below are about
  Progress step;
  uint64_t violations = 0;
};

struct DriverOptions {
  std::vector<std::string> endpoints;
  Credentials credentials;  // for real connections
  int64_t threads = 1;
  const Clock* clock = nullptr;
  ChannelFactory factory;  // empty: real connections to the endpoints
  // Called on Run's thread about every `progress_every_ns`. May be empty.
  std::function<void(const ProgressLine&)> on_progress;
  int64_t progress_every_ns = kNanosPerSecond;
};

struct ServerRecord {
  std::string endpoint;
  std::string version;
  int64_t revision_before = 0;
  int64_t db_size_before = 0;
  std::optional<int64_t> revision_after;
  std::optional<int64_t> db_size_after;
};

struct PhaseRecord {
  const PhaseSpec* spec = nullptr;
  int64_t start_wall_ns = 0;
  int64_t prepare_ns = 0;  // connecting, leases, opening watches
  int64_t load_ns = 0;     // from the start until the last answer
  int64_t watch_wait_ns = 0;
  int64_t driver_cpu_ns = 0;  // of the whole process, from start to last answer
  int64_t last_revision = 0;
  std::vector<LoadRecord> loads;  // by name, threads merged
  std::vector<WatchRecord> watchers;
  std::vector<ScheduleRecord> schedule;
};

struct RunResult {
  enum class Outcome {
    kComplete,
    kPartial,  // interrupted
    kVoid,     // a check failed: the numbers are no result
    kFailed,   // could not be run to its end; `error` says why
  } outcome = Outcome::kComplete;
  std::string error;
  uint64_t seed = 0;
  int64_t threads = 0;
  int64_t start_wall_ns = 0;
  std::vector<ServerRecord> servers;
  std::vector<std::string> older_keys;  // key spaces that were not empty at the start
  std::vector<PhaseRecord> phases;
  uint64_t final_keys_checked = 0;
  uint64_t unknown_writes = 0;
};

class Driver {
 public:
  // kInvalidArgument for an endpoint that is none.
  static absl::StatusOr<std::unique_ptr<Driver>> Create(const Workload& workload,
                                                        DriverOptions options);
  ~Driver();

  RunResult Run();
  void Interrupt() { interrupted_.store(true); }

  // Reads every key of the workload back and compares it with what was acknowledged. Run does this
  // at its end; tests may do it again, when no Run is going on, after a restart of the server.
  absl::Status CheckFinalState(uint64_t* keys_checked);

  const Workload& workload() const { return workload_; }
  Model& model() { return *model_; }
  const CheckLog& checks() const { return checks_; }

 private:
  Driver(const Workload& workload, DriverOptions options);

  absl::Status LookAtServers(RunResult* result);
  void LookAgain(RunResult* result);
  absl::Status FindOlderKeys(RunResult* result);
  absl::Status RunPhase(const PhaseSpec& phase, uint64_t phase_number, RunResult* result);
  std::vector<PhasePart> Divide(const PhaseSpec& phase, uint64_t phase_number);
  void DivideLoad(const PhaseSpec& phase, size_t load, uint64_t phase_number, size_t first_worker,
                  size_t workers, std::vector<PhasePart>* parts);
  void DivideWatchers(const PhaseSpec& phase, const WatcherSpec& spec,
                      std::vector<PhasePart>* parts);
  absl::Status PreparePhase(std::vector<PhasePart> parts);
  void WaitForLoad(const PhaseSpec& phase, int64_t start_ns, int64_t end_ns);
  void AwaitWatches(const PhaseSpec& phase);
  void CollectPhase(PhaseRecord* record);
  absl::Status CheckSpace(size_t space, uint64_t* keys_checked);
  // Waits for a change of a worker's flag, or a short while.
  void WaitForChange();
  bool All(bool (Worker::*flag)() const) const;
  absl::Status Fail(std::string_view doing, const transport::RpcStatus& status) const;

  const Workload workload_;
  const DriverOptions options_;
  CheckLog checks_;
  std::unique_ptr<Model> model_;
  ProgressBoard board_;
  std::vector<std::unique_ptr<SharedLoad>> shared_loads_;  // of the current phase
  uint32_t next_writer_ = 1;
  uint64_t next_connection_ = 0;
  std::atomic<bool> interrupted_{false};
  std::mutex mutex_;
  std::condition_variable condition_;
  bool changed_ = false;
  // Last: their threads use all of the above.
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace quorate::workload
