#include "workloads/worker.h"

#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "workloads/wire.h"

namespace quorate::workload {
namespace {

using transport::RpcStatus;

constexpr int64_t kHelloTimeoutNs = 10 * kNanosPerSecond;
constexpr int64_t kTickMaxNs = 100 * kNanosPerMilli;

// Lets one thread wait for work on another.
class Done {
 public:
  void Set() {
    std::lock_guard lock(mutex_);
    set_ = true;
    condition_.notify_one();  // under the lock: the waiter may destroy this right after
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool set_ = false;
};

}  // namespace

absl::StatusOr<ChannelFactory> RealChannels(const std::vector<std::string>& endpoints,
                                            const Credentials& credentials) {
  std::vector<transport::ChannelOptions> parsed;
  for (const std::string& endpoint : endpoints) {
    QR_ASSIGN_OR_RETURN(const auto address, transport::ParseEndpoint(endpoint));
    transport::ChannelOptions& options = parsed.emplace_back();
    options.host = address.host;
    options.port = address.port;
    options.tls = transport::TlsFor(address, credentials.tls);
    options.initial_window_bytes = 4 << 20;
  }
  const auto connect = [parsed](transport::EventLoop* loop, uint64_t n) {
    return transport::Channel::Create(loop, parsed[n % parsed.size()]);
  };
  if (credentials.user.empty()) return connect;
  absl::StatusOr<std::string> token = absl::UnavailableError("no endpoint");
  for (size_t i = 0; i < parsed.size() && !token.ok(); ++i) {
    token = SignIn(parsed[i], credentials);
  }
  if (!token.ok()) return token.status();
  return [connect, token = *token](transport::EventLoop* loop, uint64_t n) {
    return WithToken(connect(loop, n), token);
  };
}

Worker::Worker(const Clock* clock, ChannelFactory factory, Model* model,
               std::function<void()> changed)
    : clock_(clock),
      factory_(std::move(factory)),
      model_(model),
      changed_(std::move(changed)),
      loop_(clock),
      thread_([this] {
        // The kernel may otherwise be 50 us late with every due time.
        prctl(PR_SET_TIMERSLACK, 1UL);
        loop_.Run();
      }) {}

Worker::~Worker() {
  Do([this] {
    loads_.clear();
    watchers_.clear();
    channels_.clear();
    call_channels_.clear();
  });
  loop_.Stop();
  thread_.join();
}

void Worker::Do(const std::function<void()>& work) {
  Done done;
  loop_.Post([&] {
    work();
    done.Set();
  });
  done.Wait();
}

RpcStatus Worker::Call(std::string_view path, Bytes request, int64_t timeout_ns, Bytes* answer,
                       uint64_t connection) {
  Done done;
  RpcStatus result;
  loop_.Post([&] {
    while (call_channels_.size() <= connection) {
      call_channels_.push_back(factory_(&loop_, call_channels_.size()));
    }
    call_channels_[connection]->Call(path, request, timeout_ns, {},
                                     [&](RpcStatus status, Bytes response) {
                                       result = std::move(status);
                                       *answer = std::move(response);
                                       done.Set();
                                     });
  });
  done.Wait();
  return result;
}

void Worker::CloseCallChannels() {
  Do([this] { call_channels_.clear(); });
}

std::vector<transport::Channel*> Worker::Connect(int64_t connections) {
  std::vector<transport::Channel*> made;
  for (int64_t i = 0; i < connections; ++i) {
    channels_.push_back(factory_(&loop_, part_.first_connection++));
    made.push_back(channels_.back().get());
    SayHello(made.back());
  }
  return made;
}

// The first request pays for connecting: let it be one that nobody measures.
void Worker::SayHello(transport::Channel* channel) {
  ++preparing_;
  channel->Call(kRangePath, EncodeRange({.key = std::string_view("\0", 1), .serializable = true}),
                kHelloTimeoutNs, {}, [this](RpcStatus status, Bytes) { OnePrepared(status); });
}

void Worker::OnePrepared(const RpcStatus& status) {
  if (!status.ok() && prepare_status_.ok()) prepare_status_ = status;
  if (--preparing_ > 0) return;
  prepared_.store(true, std::memory_order_release);
  changed_();
}

void Worker::Prepare(PhasePart part) {
  prepared_ = false;
  counts_done_ = false;
  finished_ = false;
  Do([&] {
    part_ = std::move(part);
    prepare_status_ = {};
    running_ = false;
    end_ns_ = INT64_MAX;
    preparing_ = 1;
    for (LoadShare& share : part_.loads) {
      share.context.channels = Connect(share.connections);
      share.context.rearm = [this] { Poll(); };
      loads_.push_back(std::make_unique<LoadRunner>(*share.spec, share.context));
      ++preparing_;
      loads_.back()->Prepare([this](RpcStatus status) { OnePrepared(status); });
    }
    for (WatchShare& share : part_.watchers) {
      share.context.channels = Connect(share.connections);
      watchers_.push_back(std::make_unique<WatchRunner>(*share.spec, share.context));
      ++preparing_;
      watchers_.back()->Open(part_.watch_base, [this](RpcStatus status) { OnePrepared(status); });
    }
    if (!part_.schedule.empty()) {
      schedule_ =
          std::make_unique<ScheduleRunner>(part_.schedule, Connect(1).front(), clock_, model_);
    }
    OnePrepared({});
  });
}

RpcStatus Worker::prepare_status() {
  RpcStatus status;
  Do([&] { status = prepare_status_; });
  return status;
}

void Worker::Start(int64_t start_ns, int64_t end_ns) {
  Do([&] {
    running_ = true;
    end_ns_ = end_ns;
    for (const auto& load : loads_) load->Start(start_ns, end_ns);
    for (const auto& watcher : watchers_) watcher->Start(start_ns);
    if (schedule_ != nullptr) schedule_->Start(start_ns, end_ns);
    Tick();
  });
}

void Worker::Stop() {
  Do([&] {
    const int64_t now_ns = clock_->MonotonicNs();
    end_ns_ = std::min(end_ns_, now_ns);
    for (const auto& load : loads_) load->StopAt(now_ns);
    if (schedule_ != nullptr) schedule_->StopAt(now_ns);
    Poll();
  });
}

void Worker::Poll() {
  // A poll may end in an answer that asks for one: the outer one sees to it.
  if (polling_ || !running_) return;
  polling_ = true;
  const int64_t now_ns = clock_->MonotonicNs();
  int64_t next = INT64_MAX;
  for (const auto& load : loads_) next = std::min(next, load->Poll(now_ns));
  for (const auto& watcher : watchers_) next = std::min(next, watcher->Poll(now_ns));
  if (schedule_ != nullptr) next = std::min(next, schedule_->Poll(now_ns));
  polling_ = false;
  UpdateFlags(now_ns);
  if (next == timer_at_ns_) return;
  if (timer_at_ns_ != INT64_MAX) loop_.CancelTimer(timer_);
  timer_at_ns_ = next;
  if (next == INT64_MAX) return;
  timer_ = loop_.RunAt(next, [this] {
    timer_at_ns_ = INT64_MAX;
    Poll();
  });
}

void Worker::Tick() {
  if (!running_) return;
  const int64_t now_ns = clock_->MonotonicNs();
  for (const auto& load : loads_) load->Tick(now_ns);
  for (const auto& watcher : watchers_) watcher->Tick(now_ns);
  Poll();
  tick_ = loop_.RunAt(now_ns + std::min(part_.interval_ns, kTickMaxNs), [this] { Tick(); });
}

void Worker::UpdateFlags(int64_t now_ns) {
  bool counts_done = true;
  bool finished = true;
  for (size_t i = 0; i < loads_.size(); ++i) {
    const bool load_finished = loads_[i]->Finished(now_ns);
    finished &= load_finished;
    counts_done &= load_finished || part_.loads[i].spec->count == 0;
  }
  if (schedule_ != nullptr) finished &= schedule_->Idle();
  finished &= now_ns >= end_ns_;
  if (counts_done == counts_done_ && finished == finished_) return;
  counts_done_.store(counts_done, std::memory_order_release);
  finished_.store(finished, std::memory_order_release);
  changed_();
}

int64_t Worker::IncompleteWatches(const ExpectedEvents& expected) {
  int64_t incomplete = 0;
  Do([&] {
    for (const auto& watcher : watchers_) incomplete += watcher->Incomplete(expected);
  });
  return incomplete;
}

void Worker::ReportCompleteness(const ExpectedEvents& expected) {
  Do([&] {
    for (const auto& watcher : watchers_) watcher->ReportCompleteness(expected);
  });
}

PartRecord Worker::Collect() {
  PartRecord record;
  Do([&] {
    running_ = false;
    if (timer_at_ns_ != INT64_MAX) loop_.CancelTimer(timer_);
    timer_at_ns_ = INT64_MAX;
    loop_.CancelTimer(tick_);
    for (const auto& load : loads_) record.loads.push_back(load->TakeRecord());
    for (const auto& watcher : watchers_) record.watchers.push_back(watcher->Close());
    if (schedule_ != nullptr) record.schedule = schedule_->TakeRecords();
    loads_.clear();
    watchers_.clear();
    schedule_.reset();
    channels_.clear();
    part_ = PhasePart();
  });
  return record;
}

}  // namespace quorate::workload
