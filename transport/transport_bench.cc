// What a unary call costs the server's network thread: an echo at several numbers of connections
// and streams, closed loop, answered on the loop thread or (like a replica does) in batches by
// another thread. Prints CPU microseconds of the loop thread per call.
#include <benchmark/benchmark.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "transport/client.h"
#include "transport/event_loop.h"
#include "transport/server.h"

namespace quorate::transport {
namespace {

int64_t CpuNs(pthread_t thread) {
  clockid_t clock{};
  QR_CHECK(pthread_getcpuclockid(thread, &clock) == 0);
  timespec time{};
  QR_CHECK(clock_gettime(clock, &time) == 0);
  return time.tv_sec * kNanosPerSecond + time.tv_nsec;
}

// Stands for the replica: takes all that waits, answers it in one wake scope.
class Answerer {
 public:
  Answerer() : thread_([this] { Run(); }) {}
  ~Answerer() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  void Add(std::shared_ptr<ServerCall> call, Bytes answer) {
    std::lock_guard lock(mutex_);
    waiting_.emplace_back(std::move(call), std::move(answer));
    if (waiting_.size() == 1) changed_.notify_one();
  }

 private:
  void Run() {
    std::vector<std::pair<std::shared_ptr<ServerCall>, Bytes>> batch;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        batch.swap(waiting_);
      }
      const WakeScope scope;
      for (auto& [call, answer] : batch) call->Reply(std::move(answer));
      batch.clear();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::shared_ptr<ServerCall>, Bytes>> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

struct Setup {
  SystemClock clock;
  ServiceTable table;
  std::unique_ptr<Answerer> answerer;
  std::atomic<pthread_t> loop_thread{};
  std::unique_ptr<ServerTransport> server;

  explicit Setup(bool other_thread) {
    if (other_thread) answerer = std::make_unique<Answerer>();
    Method method;
    method.path = "/etcdserverpb.KV/Put";
    const Bytes answer = Bytes::FromString(std::string(40, 'a'));
    method.unary = [this, answer](std::shared_ptr<ServerCall> call, Bytes) {
      loop_thread.store(pthread_self(), std::memory_order_relaxed);
      if (answerer != nullptr) {
        answerer->Add(std::move(call), answer);
      } else {
        call->Reply(answer);
      }
    };
    table.Add(std::move(method));
    ServerOptions options;
    options.clock = &clock;
    options.listen.push_back({"http://127.0.0.1:0", "127.0.0.1", 0});
    auto made = CreateServerTransport("native", options, &table, nullptr);
    QR_CHECK(made.ok());
    server = *std::move(made);
    QR_CHECK(server->Bind().ok());
    server->Serve();
  }
};

// A closed loop of calls over all channels, on one event loop.
class Driver {
 public:
  Driver(uint16_t port, int64_t connections, int64_t streams)
      : loop_(&clock_), streams_(streams), request_(Bytes::FromString(std::string(290, 'r'))) {
    ChannelOptions options;
    options.host = "127.0.0.1";
    options.port = port;
    for (int64_t i = 0; i < connections; ++i) channels_.push_back(Channel::Create(&loop_, options));
  }

  // Runs `calls` calls to their end.
  void Run(uint64_t calls) {
    to_start_ = calls;
    for (const auto& channel : channels_) {
      for (int64_t i = 0; i < streams_; ++i) Start(channel.get());
    }
    loop_.Run();
  }

 private:
  void Start(Channel* channel) {
    if (to_start_ == 0) {
      if (open_ == 0) loop_.Stop();
      return;
    }
    --to_start_;
    ++open_;
    channel->Call("/etcdserverpb.KV/Put", request_, 0, no_metadata_,
                  [this, channel](const RpcStatus& status, const Bytes&) {
                    QR_CHECK_MSG(status.ok(), status.message);
                    --open_;
                    Start(channel);
                  });
  }

  SystemClock clock_;
  EventLoop loop_;
  const int64_t streams_;
  const Bytes request_;
  const MetadataList no_metadata_;
  std::vector<std::unique_ptr<Channel>> channels_;
  uint64_t to_start_ = 0;
  uint64_t open_ = 0;
};

// The arguments are connections, streams on each, and whether another thread answers.
void UnaryEcho(benchmark::State& state) {
  constexpr uint64_t kWarmUpCalls = 2'000;
  constexpr uint64_t kCalls = 20'000;
  Setup setup(state.range(2) != 0);
  Driver driver(setup.server->ports().front(), state.range(0), state.range(1));
  driver.Run(kWarmUpCalls);
  int64_t server_ns = 0;
  int64_t client_ns = 0;
  for (auto _ : state) {
    const int64_t server_before = CpuNs(setup.loop_thread.load());
    const int64_t client_before = CpuNs(pthread_self());
    driver.Run(kCalls);
    server_ns += CpuNs(setup.loop_thread.load()) - server_before;
    client_ns += CpuNs(pthread_self()) - client_before;
  }
  const double calls = static_cast<double>(kCalls) * static_cast<double>(state.iterations());
  state.counters["server_us"] = static_cast<double>(server_ns) / 1000 / calls;
  state.counters["client_us"] = static_cast<double>(client_ns) / 1000 / calls;
  state.counters["calls/s"] = benchmark::Counter(calls, benchmark::Counter::kIsRate);
}
BENCHMARK(UnaryEcho)
    ->ArgNames({"connections", "streams", "other_thread"})
    ->ArgsProduct({{1}, {1}, {0, 1}})
    ->ArgsProduct({{10}, {10}, {0, 1}})
    ->ArgsProduct({{100}, {1, 10}, {0, 1}})
    ->Iterations(3)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quorate::transport
