// Worker: one thread with an EventLoop that runs its share of a phase: loads, watchers, and on one
// of them the schedule. The driver prepares, starts, stops and collects it; in between it runs by
// itself and raises flags.
//
// Public methods are called by the driver's thread only, unless they say otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "transport/client.h"
#include "transport/event_loop.h"
#include "workloads/credentials.h"
#include "workloads/load.h"
#include "workloads/schedule.h"
#include "workloads/watchers.h"

namespace quorate::workload {

// Makes the n-th connection of a run.
using ChannelFactory =
    std::function<std::unique_ptr<transport::Channel>(transport::EventLoop* loop, uint64_t n)>;
// Real connections, to the endpoints in turn. kInvalidArgument when one is malformed; blocks while
// it signs in, at the first endpoint that answers, and fails when none does.
absl::StatusOr<ChannelFactory> RealChannels(const std::vector<std::string>& endpoints,
                                            const Credentials& credentials);

struct LoadShare {
  const LoadSpec* spec = nullptr;
  LoadContext context;  // channels and rearm are the worker's to fill in
  int64_t connections = 1;
};
struct WatchShare {
  const WatcherSpec* spec = nullptr;
  WatchContext context;
  int64_t connections = 1;
};
struct PhasePart {
  std::vector<LoadShare> loads;
  std::vector<WatchShare> watchers;
  std::vector<ScheduleSpec> schedule;
  uint64_t first_connection = 0;  // numbers for the factory
  int64_t interval_ns = kNanosPerSecond;
  int64_t watch_base = 0;  // watches see what comes after this revision
};

struct PartRecord {
  std::vector<LoadRecord> loads;
  std::vector<WatchRecord> watchers;
  std::vector<ScheduleRecord> schedule;
};

class Worker {
 public:
  // `changed` is called on the worker's thread after a flag changed.
  Worker(const Clock* clock, ChannelFactory factory, Model* model, std::function<void()> changed);
  ~Worker();

  // Runs `work` on the worker's thread and waits for its end.
  void Do(const std::function<void()>& work);
  // One unary call over a channel of the worker's own; waits for the answer.
  transport::RpcStatus Call(std::string_view path, Bytes request, int64_t timeout_ns, Bytes* answer,
                            uint64_t connection = 0);
  // Lets go of the channels that Call made.
  void CloseCallChannels();

  // Connects, grants leases and opens watches; prepared() rises when done or failed.
  void Prepare(PhasePart part);
  bool prepared() const { return prepared_.load(std::memory_order_acquire); }
  transport::RpcStatus prepare_status();

  void Start(int64_t start_ns, int64_t end_ns);
  void Stop();  // no more operations; outstanding ones end
  // Every load of this worker that has a count has done it.
  bool counts_done() const { return counts_done_.load(std::memory_order_acquire); }
  // Nothing more to send and nothing outstanding.
  bool finished() const { return finished_.load(std::memory_order_acquire); }

  int64_t IncompleteWatches(const ExpectedEvents& expected);
  void ReportCompleteness(const ExpectedEvents& expected);
  // Closes watches and connections.
  PartRecord Collect();

 private:
  void Poll();
  void Tick();
  void UpdateFlags(int64_t now_ns);
  void OnePrepared(const transport::RpcStatus& status);
  std::vector<transport::Channel*> Connect(int64_t connections);
  void SayHello(transport::Channel* channel);

  const Clock* const clock_;
  const ChannelFactory factory_;
  Model* const model_;
  const std::function<void()> changed_;
  transport::EventLoop loop_;
  std::thread thread_;

  // On the worker's thread from here on.
  PhasePart part_;
  std::vector<std::unique_ptr<transport::Channel>> call_channels_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;
  std::vector<std::unique_ptr<LoadRunner>> loads_;
  std::vector<std::unique_ptr<WatchRunner>> watchers_;
  std::unique_ptr<ScheduleRunner> schedule_;
  int64_t preparing_ = 0;
  transport::RpcStatus prepare_status_;
  bool running_ = false;
  int64_t end_ns_ = INT64_MAX;
  int64_t timer_at_ns_ = INT64_MAX;
  transport::EventLoop::TimerId timer_ = 0;
  transport::EventLoop::TimerId tick_ = 0;
  bool polling_ = false;

  std::atomic<bool> prepared_{false};
  std::atomic<bool> counts_done_{false};
  std::atomic<bool> finished_{false};
};

}  // namespace quorate::workload
