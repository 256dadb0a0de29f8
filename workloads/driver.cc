#include "workloads/driver.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "base/thread_turns.h"
#include "workloads/value.h"
#include "workloads/wire.h"

namespace quorate::workload {
namespace {

using transport::RpcStatus;

constexpr int64_t kCallTimeoutNs = 30 * kNanosPerSecond;
constexpr int64_t kStartDelayNs = 20 * kNanosPerMilli;  // all threads hear of the start in time
constexpr int64_t kSettleNs = 20 * kNanosPerMilli;
constexpr int64_t kFinalPage = 1000;

int64_t ProcessCpuNs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& time) {
    return int64_t{time.tv_sec} * kNanosPerSecond + int64_t{time.tv_usec} * kNanosPerMicro;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

// The part of `total` that worker `i` of `n` gets.
int64_t Part(int64_t total, size_t i, size_t n) {
  const auto begin = static_cast<int64_t>(i);
  const auto parts = static_cast<int64_t>(n);
  return total * (begin + 1) / parts - total * begin / parts;
}

int64_t PartBegin(int64_t total, size_t i, size_t n) {
  return total * static_cast<int64_t>(i) / static_cast<int64_t>(n);
}

size_t OwnThreads(const PhaseSpec& phase) {
  return static_cast<size_t>(std::count_if(phase.loads.begin(), phase.loads.end(),
                                           [](const LoadSpec& load) { return load.own_thread; }));
}

template <class Record>
void MergeByName(Record&& from, std::vector<Record>* into) {
  for (Record& record : *into) {
    if (record.name == from.name) return record.Merge(from);
  }
  into->push_back(std::move(from));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Driver>> Driver::Create(const Workload& workload,
                                                       DriverOptions options) {
  QR_CHECK(options.clock != nullptr && options.threads >= 1);
  if (options.endpoints.empty()) {
    return absl::InvalidArgumentError("no endpoint: give --endpoints host:port[,host:port...]");
  }
  if (!options.factory) {
    QR_ASSIGN_OR_RETURN(options.factory, RealChannels(options.endpoints, options.credentials));
  }
  return std::unique_ptr<Driver>(new Driver(workload, std::move(options)));
}

Driver::Driver(const Workload& workload, DriverOptions options)
    : workload_(workload), options_(std::move(options)) {
  // Two runs against one store must not take each other's values for their own.
  const uint64_t run = Mix64(static_cast<uint64_t>(workload_.seed) ^
                             static_cast<uint64_t>(options_.clock->WallNs()));
  model_ = std::make_unique<Model>(workload_, static_cast<uint32_t>(run), &checks_);
  size_t own_threads = 0;
  for (const PhaseSpec& phase : workload_.phases) {
    own_threads = std::max(own_threads, OwnThreads(phase));
  }
  for (size_t i = 0; i < static_cast<size_t>(options_.threads) + own_threads; ++i) {
    workers_.push_back(
        std::make_unique<Worker>(options_.clock, options_.factory, model_.get(), [this] {
          std::lock_guard lock(mutex_);
          changed_ = true;
          condition_.notify_one();
        }));
    // Latencies would else tell how long a thread with work of its own let this one wait.
    if (i < static_cast<size_t>(options_.threads)) workers_.back()->Do(AskForShortTurns);
  }
}

Driver::~Driver() { workers_.clear(); }

absl::Status Driver::Fail(std::string_view doing, const RpcStatus& status) const {
  return absl::UnavailableError(
      ToAbsl(StrCat(doing, ": ", CodeName(status.code), ": ", status.message)));
}

void Driver::WaitForChange() {
  std::unique_lock lock(mutex_);
  condition_.wait_for(lock, std::chrono::milliseconds(20), [this] { return changed_; });
  changed_ = false;
}

bool Driver::All(bool (Worker::*flag)() const) const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [&](const auto& worker) { return (worker.get()->*flag)(); });
}

RunResult Driver::Run() {
  RunResult result;
  result.seed = static_cast<uint64_t>(workload_.seed);
  result.threads = static_cast<int64_t>(workers_.size());
  result.start_wall_ns = options_.clock->WallNs();
  absl::Status status = LookAtServers(&result);
  if (status.ok()) status = FindOlderKeys(&result);
  for (size_t i = 0; i < workload_.phases.size() && status.ok() && !interrupted_; ++i) {
    status = RunPhase(workload_.phases[i], i, &result);
  }
  if (status.ok() && workload_.final_check) status = CheckFinalState(&result.final_keys_checked);
  if (status.ok()) LookAgain(&result);
  result.unknown_writes = model_->unknown_writes();
  for (const auto& worker : workers_) worker->CloseCallChannels();
  if (checks_.violations() > 0) {
    result.outcome = RunResult::Outcome::kVoid;
  } else if (!status.ok()) {
    result.outcome = RunResult::Outcome::kFailed;
  } else if (interrupted_) {
    result.outcome = RunResult::Outcome::kPartial;
  }
  if (!status.ok()) result.error = std::string(ToStd(status.message()));
  return result;
}

absl::Status Driver::LookAtServers(RunResult* result) {
  int64_t newest = 0;
  for (size_t i = 0; i < options_.endpoints.size(); ++i) {
    Bytes answer;
    const RpcStatus status =
        workers_.front()->Call(kStatusPath, Bytes(), kCallTimeoutNs, &answer, i);
    const std::string doing = StrCat("asking ", options_.endpoints[i], " for its status");
    if (!status.ok()) return Fail(doing, status);
    StatusView view;
    if (!DecodeStatus(answer.view(), &view)) {
      return absl::UnavailableError(ToAbsl(StrCat(doing, ": the answer is no StatusResponse")));
    }
    ServerRecord& server = result->servers.emplace_back();
    server.endpoint = options_.endpoints[i];
    server.version = std::string(view.version);
    server.revision_before = view.revision;
    server.db_size_before = view.db_size;
    newest = std::max(newest, view.revision);
  }
  model_->Begin(newest);
  return absl::OkStatus();
}

void Driver::LookAgain(RunResult* result) {
  for (size_t i = 0; i < result->servers.size(); ++i) {
    Bytes answer;
    StatusView view;
    if (!workers_.front()->Call(kStatusPath, Bytes(), kCallTimeoutNs, &answer, i).ok()) continue;
    if (!DecodeStatus(answer.view(), &view)) continue;
    result->servers[i].revision_after = view.revision;
    result->servers[i].db_size_after = view.db_size;
  }
}

absl::Status Driver::FindOlderKeys(RunResult* result) {
  for (size_t i = 0; i < model_->spaces(); ++i) {
    const KeySpaceSpec& spec = model_->space(i).spec();
    Bytes answer;
    const RpcStatus status = workers_.front()->Call(
        kRangePath,
        EncodeRange({.key = spec.prefix, .end = PrefixEnd(spec.prefix), .count_only = true}),
        kCallTimeoutNs, &answer);
    if (!status.ok()) return Fail(StrCat("counting the keys under ", spec.prefix), status);
    RangeView view;
    if (!DecodeRange(answer.view(), &view) || view.count == 0) continue;
    model_->SetOlderKeys(i);
    result->older_keys.push_back(StrCat(spec.name, ": ", view.count));
  }
  return absl::OkStatus();
}

// --- one phase

void Driver::DivideLoad(const PhaseSpec& phase, size_t load, uint64_t phase_number,
                        size_t first_worker, size_t workers, std::vector<PhasePart>* parts) {
  const LoadSpec& spec = phase.loads[load];
  workers = std::min(workers, static_cast<size_t>(spec.connections));
  SharedLoad* shared = shared_loads_[load].get();
  for (size_t i = 0; i < workers; ++i) {
    LoadShare share;
    share.spec = &spec;
    share.connections = Part(spec.connections, i, workers);
    share.context.clock = options_.clock;
    share.context.model = model_.get();
    share.context.board = &board_;
    share.context.shared = shared;
    share.context.seed = Mix64(Mix64(static_cast<uint64_t>(workload_.seed)) ^
                               Mix64(phase_number << 40 | load << 20 | i));
    share.context.interval_ns = workload_.interval_ns;
    share.context.keep_times = phase.measure ? KeepTimes::kYes : KeepTimes::kNo;
    share.context.clients = Part(spec.clients, i, workers);
    share.context.first_writer = next_writer_;
    share.context.share = static_cast<int64_t>(i);
    share.context.shares = static_cast<int64_t>(workers);
    next_writer_ += static_cast<uint32_t>(share.context.clients);
    (*parts)[first_worker + i].loads.push_back(std::move(share));
  }
}

void Driver::DivideWatchers(const PhaseSpec& phase, const WatcherSpec& spec,
                            std::vector<PhasePart>* parts) {
  const size_t workers = static_cast<size_t>(std::min(options_.threads, spec.connections));
  for (size_t i = 0; i < workers; ++i) {
    WatchShare share;
    share.spec = &spec;
    share.connections = Part(spec.connections, i, workers);
    share.context.clock = options_.clock;
    share.context.model = model_.get();
    share.context.board = &board_;
    share.context.interval_ns = workload_.interval_ns;
    share.context.keep_times = phase.measure ? KeepTimes::kYes : KeepTimes::kNo;
    share.context.first_watch = PartBegin(spec.count, i, workers);
    share.context.watches = Part(spec.count, i, workers);
    share.context.streams = Part(spec.streams, i, workers);
    (*parts)[i].watchers.push_back(std::move(share));
  }
}

std::vector<PhasePart> Driver::Divide(const PhaseSpec& phase, uint64_t phase_number) {
  std::vector<PhasePart> parts(workers_.size());
  shared_loads_.clear();
  size_t next_own = static_cast<size_t>(options_.threads);
  for (size_t i = 0; i < phase.loads.size(); ++i) {
    shared_loads_.push_back(std::make_unique<SharedLoad>(phase.loads[i]));
    if (phase.loads[i].own_thread) {
      DivideLoad(phase, i, phase_number, next_own++, 1, &parts);
    } else {
      DivideLoad(phase, i, phase_number, 0, static_cast<size_t>(options_.threads), &parts);
    }
  }
  for (const WatcherSpec& spec : phase.watchers) DivideWatchers(phase, spec, &parts);
  parts.front().schedule = phase.schedule;
  for (PhasePart& part : parts) {
    part.first_connection = next_connection_;
    for (const LoadShare& share : part.loads) {
      next_connection_ += static_cast<uint64_t>(share.connections);
    }
    for (const WatchShare& share : part.watchers) {
      next_connection_ += static_cast<uint64_t>(share.connections);
    }
    part.interval_ns = workload_.interval_ns;
    part.watch_base = model_->newest_revision();
  }
  return parts;
}

absl::Status Driver::PreparePhase(std::vector<PhasePart> parts) {
  for (size_t i = 0; i < workers_.size(); ++i) workers_[i]->Prepare(std::move(parts[i]));
  while (!All(&Worker::prepared)) WaitForChange();
  for (const auto& worker : workers_) {
    const RpcStatus status = worker->prepare_status();
    if (!status.ok()) return Fail("connecting and opening watches", status);
  }
  return absl::OkStatus();
}

absl::Status Driver::RunPhase(const PhaseSpec& phase, uint64_t phase_number, RunResult* result) {
  PhaseRecord& record = result->phases.emplace_back();
  record.spec = &phase;
  model_->history().Reset(model_->newest_revision());
  const int64_t prepare_begin_ns = options_.clock->MonotonicNs();
  absl::Status status = PreparePhase(Divide(phase, phase_number));
  const int64_t start_ns = options_.clock->MonotonicNs() + kStartDelayNs;
  record.prepare_ns = start_ns - prepare_begin_ns;
  record.start_wall_ns = options_.clock->WallNs() + kStartDelayNs;
  if (status.ok()) {
    const int64_t end_ns = phase.duration_ns > 0 ? start_ns + phase.duration_ns : INT64_MAX;
    board_.Take();
    const int64_t cpu_begin_ns = ProcessCpuNs();
    for (const auto& worker : workers_) worker->Start(start_ns, end_ns);
    WaitForLoad(phase, start_ns, end_ns);
    const int64_t load_end_ns = options_.clock->MonotonicNs();
    record.load_ns = load_end_ns - start_ns;
    record.driver_cpu_ns = ProcessCpuNs() - cpu_begin_ns;
    if (!phase.watchers.empty()) AwaitWatches(phase);
    CheckGuards(*model_, &checks_);
    record.watch_wait_ns = options_.clock->MonotonicNs() - load_end_ns;
    if (model_->history().full()) {
      status = absl::ResourceExhaustedError(
          ToAbsl(StrCat("phase '", phase.name, "' wrote more than ", History::kRevisionsMax,
                        " revisions, more than can be verified: split it into phases")));
    }
  }
  record.last_revision = model_->newest_revision();
  CollectPhase(&record);
  return status;
}

void Driver::WaitForLoad(const PhaseSpec& phase, int64_t start_ns, int64_t end_ns) {
  bool stopped = false;
  int64_t step_begin_ns = start_ns;
  while (!All(&Worker::finished)) {
    WaitForChange();
    const int64_t now_ns = options_.clock->MonotonicNs();
    const bool counts_done = end_ns == INT64_MAX && All(&Worker::counts_done);
    if (!stopped && (counts_done || interrupted_ || model_->history().full())) {
      stopped = true;
      for (const auto& worker : workers_) worker->Stop();
    }
    if (now_ns - step_begin_ns < options_.progress_every_ns || !options_.on_progress) continue;
    ProgressLine line;
    line.phase = phase.name;
    line.measured = phase.measure;
    line.elapsed_ns = now_ns - start_ns;
    line.duration_ns = phase.duration_ns;
    line.step_ns = now_ns - step_begin_ns;
    line.step = board_.Take();
    line.violations = checks_.violations();
    options_.on_progress(line);
    step_begin_ns = now_ns;
  }
}

// Nothing is outstanding: every change of the phase is known, but for writes of unknown outcome,
// which may still happen. So the expectation is made anew whenever another change was seen.
void Driver::AwaitWatches(const PhaseSpec& phase) {
  const int64_t deadline_ns = options_.clock->MonotonicNs() + phase.watch_timeout_ns;
  uint64_t changes = model_->history().changes();
  auto expected = std::make_unique<ExpectedEvents>(*model_);
  for (int64_t settled_ns = 0;;) {
    int64_t incomplete = 0;
    for (const auto& worker : workers_) incomplete += worker->IncompleteWatches(*expected);
    const int64_t now_ns = options_.clock->MonotonicNs();
    if (incomplete > 0) {
      settled_ns = 0;
    } else if (settled_ns == 0) {
      settled_ns = now_ns;
    }
    const bool settled = incomplete == 0 && now_ns - settled_ns > kSettleNs;
    if (settled || now_ns > deadline_ns || checks_.violations() > 0) break;
    WaitForChange();
    if (model_->history().changes() == changes) continue;
    changes = model_->history().changes();
    expected = std::make_unique<ExpectedEvents>(*model_);
  }
  for (const auto& worker : workers_) worker->ReportCompleteness(*expected);
}

void Driver::CollectPhase(PhaseRecord* record) {
  for (const auto& worker : workers_) {
    PartRecord part = worker->Collect();
    for (LoadRecord& load : part.loads) MergeByName(std::move(load), &record->loads);
    for (WatchRecord& watcher : part.watchers) MergeByName(std::move(watcher), &record->watchers);
    for (ScheduleRecord& item : part.schedule) record->schedule.push_back(std::move(item));
  }
}

// --- the end

absl::Status Driver::CheckFinalState(uint64_t* keys_checked) {
  for (size_t i = 0; i < model_->spaces(); ++i) {
    QR_RETURN_IF_ERROR(CheckSpace(i, keys_checked));
  }
  return absl::OkStatus();
}

absl::Status Driver::CheckSpace(size_t space, uint64_t* keys_checked) {
  const KeySpace& keys = model_->space(space);
  std::string from = keys.spec().prefix;
  const std::string end = PrefixEnd(from);
  int64_t next = 0;
  const auto absent_below = [&](int64_t limit) {
    for (; next < limit; ++next) model_->CheckFinal({space, next}, nullptr);
  };
  for (bool more = true; more;) {
    Bytes answer;
    const RpcStatus status = workers_.front()->Call(
        kRangePath, EncodeRange({.key = from, .end = end, .limit = kFinalPage}), kCallTimeoutNs,
        &answer);
    if (!status.ok()) return Fail("reading the final state", status);
    RangeView view;
    const bool decoded = DecodeRange(answer.view(), &view) &&
                         ForEachKeyValue(answer.view(), [&](const KeyValueView& kv) {
                           from.assign(kv.key);
                           const int64_t number = keys.NumberOf(kv.key);
                           if (number < 0 && model_->OlderKeys(space)) return true;
                           const bool in_order = checks_.Expect(Check::kFinal, number >= next, [&] {
                             return StrCat("reading everything back shows ", kv.key, " where key ",
                                           next, " or a later one was due");
                           });
                           if (!in_order) return true;
                           absent_below(number);
                           ++next;
                           model_->CheckFinal({space, number}, &kv);
                           ++*keys_checked;
                           return true;
                         });
    if (!decoded) {
      checks_.Failed(Check::kDecode, "reading the final state: the answer is no RangeResponse");
      return absl::OkStatus();
    }
    from += '\0';
    more = view.more && view.kvs > 0;
  }
  absent_below(keys.count());
  return absl::OkStatus();
}

}  // namespace quorate::workload
