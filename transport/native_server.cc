#include "transport/native_server.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "transport/listener.h"
#include "transport/native_loop.h"

namespace quorate::transport {
namespace {

// Descriptors that listening sockets, logs and backends need, taken off the process's limit.
constexpr uint64_t kReservedDescriptors = 150;
constexpr int kAcceptsPerTurn = 64;
// After a failed accept (no descriptor, no memory): the backlog waits, the loop does not spin.
constexpr int64_t kAcceptPauseNs = 100 * kNanosPerMilli;

uint64_t ConnectionsMax(const ServerOptions& options) {
  if (options.connections_max != 0) return options.connections_max;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT32_MAX;
  return std::max<uint64_t>(limit.rlim_cur, kReservedDescriptors + 16) - kReservedDescriptors;
}

class NativeServer final : public ServerTransport {
 public:
  NativeServer(const ServerOptions& options, const ServiceTable* services, HttpHandler http)
      : options_(options), services_(services), http_(std::move(http)) {
    QR_CHECK(options_.clock != nullptr && services_ != nullptr);
    QR_CHECK(options_.io_threads > 0);
  }
  ~NativeServer() override { Stop(); }

  absl::Status Bind() override {
    for (const ListenAddress& address : options_.listen) {
      QR_CHECK(address.security == ListenAddress::Security::kPlain || options_.tls != nullptr);
      absl::StatusOr<Listener> bound = Listener::Bind(address, options_);
      if (!bound.ok()) {
        listeners_.clear();
        return bound.status();
      }
      listeners_.push_back(*std::move(bound));
    }
    return absl::OkStatus();
  }

  std::vector<uint16_t> ports() const override {
    std::vector<uint16_t> ports;
    for (const Listener& listener : listeners_) ports.push_back(listener.port());
    return ports;
  }

  void Serve() override;
  void Drain(int64_t deadline_ns) override;
  ServerStats stats() const override;

 private:
  // --- on the first loop
  void WatchListeners();
  void UnwatchListeners();
  void Accept(const Listener& listener, int fd);
  void Hand(const NativeLoop::Accepted& accepted);

  // --- any thread
  void OnConnectionGone();
  void StopAccepting();
  void Stop();

  const ServerOptions options_;
  const ServiceTable* const services_;
  const HttpHandler http_;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<NativeLoop>> loops_;

  // First loop's thread.
  bool accepting_ = false;  // the listeners are watched
  bool closed_ = false;     // draining: never again
  bool accept_failed_ = false;
  size_t next_loop_ = 0;
  uint64_t connections_max_ = 0;

  std::atomic<uint64_t> open_{0};      // accepted and not gone
  std::atomic<bool> at_limit_{false};  // accepting stopped because of it
  bool stopped_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
};

void NativeServer::Serve() {
  QR_CHECK(loops_.empty());
  connections_max_ = ConnectionsMax(options_);
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    loops_.push_back(std::make_unique<NativeLoop>(&options_, services_, &http_));
    loops_.back()->set_on_gone([this] { OnConnectionGone(); });
  }
  for (auto& loop : loops_) loop->Start("io");
  loops_.front()->loop()->Post([this] { WatchListeners(); });
}

void NativeServer::WatchListeners() {
  if (accepting_ || closed_) return;
  accepting_ = true;
  for (const Listener& listener : listeners_) {
    for (const int fd : listener.fds()) {
      loops_.front()->loop()->Watch(fd, EPOLLIN,
                                    [this, &listener, fd](uint32_t) { Accept(listener, fd); });
    }
  }
}

void NativeServer::UnwatchListeners() {
  if (!accepting_) return;
  accepting_ = false;
  for (const Listener& listener : listeners_) {
    for (const int fd : listener.fds()) loops_.front()->loop()->Unwatch(fd);
  }
}

void NativeServer::Accept(const Listener& listener, int fd) {
  for (int i = 0; i < kAcceptsPerTurn && accepting_; ++i) {
    if (open_.load() >= connections_max_) {
      // Like etcd: what is too many waits in the backlog until a connection goes.
      UnwatchListeners();
      at_limit_.store(true);
      if (open_.load() < connections_max_ && at_limit_.exchange(false)) WatchListeners();
      return;
    }
    const int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) {
      accept_failed_ = false;
      Hand({accepted, listener.serve(), listener.security()});
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
    if (!accept_failed_) {
      LogWarn("failed to accept a connection; trying again until it works",
              {{"error", std::strerror(errno)}});
    }
    accept_failed_ = true;
    UnwatchListeners();
    EventLoop* loop = loops_.front()->loop();
    loop->RunAt(loop->NowNs() + kAcceptPauseNs, [this] { WatchListeners(); });
    return;
  }
}

void NativeServer::Hand(const NativeLoop::Accepted& accepted) {
  open_.fetch_add(1);
  NativeLoop* loop = loops_[next_loop_].get();
  next_loop_ = (next_loop_ + 1) % loops_.size();
  if (loop == loops_.front().get()) return loop->Adopt(accepted);
  loop->loop()->Post([loop, accepted] { loop->Adopt(accepted); });
}

void NativeServer::OnConnectionGone() {
  const uint64_t left = open_.fetch_sub(1) - 1;
  if (at_limit_.exchange(false)) loops_.front()->loop()->Post([this] { WatchListeners(); });
  if (left == 0) {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
}

void NativeServer::StopAccepting() {
  bool done = false;
  loops_.front()->loop()->Post([this, &done] {
    UnwatchListeners();
    closed_ = true;
    std::lock_guard lock(mutex_);
    done = true;
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&done] { return done; });
}

void NativeServer::Drain(int64_t deadline_ns) {
  if (!loops_.empty() && !stopped_) {
    StopAccepting();
    for (auto& loop : loops_) loop->loop()->Post([raw = loop.get()] { raw->StartDrain(); });
    std::unique_lock lock(mutex_);
    while (open_.load() > 0) {
      const int64_t left_ns = deadline_ns - options_.clock->MonotonicNs();
      if (left_ns <= 0) break;
      changed_.wait_for(lock, std::chrono::nanoseconds(left_ns));
    }
  }
  Stop();
  listeners_.clear();
}

void NativeServer::Stop() {
  if (loops_.empty() || stopped_) return;
  stopped_ = true;
  // First of all nothing new may be handed to a loop that is about to end; and the first loop is
  // told of each connection that goes, so it ends last.
  StopAccepting();
  for (auto loop = loops_.rbegin(); loop != loops_.rend(); ++loop) (*loop)->StopAndJoin();
}

ServerStats NativeServer::stats() const {
  ServerStats sum;
  for (const auto& loop : loops_) {
    const LoopCounters& counters = loop->counters();
    sum.connections += counters.connections.load(std::memory_order_relaxed);
    sum.streams += counters.streams.load(std::memory_order_relaxed);
    sum.connections_total += counters.connections_total.load(std::memory_order_relaxed);
    sum.bytes_received += counters.bytes_received.load(std::memory_order_relaxed);
    sum.bytes_sent += counters.bytes_sent.load(std::memory_order_relaxed);
    sum.protocol_errors += counters.protocol_errors.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace

std::unique_ptr<ServerTransport> CreateNativeServer(const ServerOptions& options,
                                                    const ServiceTable* services,
                                                    HttpHandler http) {
  return std::make_unique<NativeServer>(options, services, std::move(http));
}

}  // namespace quorate::transport
