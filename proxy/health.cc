#include "proxy/health.h"

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/text.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using transport::RpcStatus;

namespace {

constexpr int64_t kReadTimeoutNs = 1 * kNanosPerSecond;
constexpr int64_t kWatchTimeoutNs = 3 * kNanosPerSecond;
constexpr char kKey[] = "a";  // etcd's; it need not exist

// Lives until it has told.
class WatchCheck final : public transport::ClientStreamHandler,
                         public std::enable_shared_from_this<WatchCheck> {
 public:
  WatchCheck(Upstream* upstream, HealthDone done) : upstream_(upstream), done_(std::move(done)) {}

  void Start(const std::string& key) {
    self_ = shared_from_this();
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key(key);
    stream_ = upstream_->Open("/etcdserverpb.Watch/Watch", {}, this);
    stream_->Send(Serialize(request));
    transport::EventLoop* const loop = upstream_->loop();
    timer_ = loop->RunAt(loop->NowNs() + kWatchTimeoutNs, [this] { Tell("WATCH TIMEOUT"); });
  }
  void OnMessage(Bytes) override { Tell(""); }
  void OnClosed(RpcStatus status) override { Tell(StrCat("WATCH ERROR:", status.message)); }

 private:
  void Tell(const std::string& reason) {
    upstream_->loop()->CancelTimer(timer_);
    if (self_ == nullptr) return;
    done_(reason);
    // The stream is not ended from inside its own event.
    upstream_->loop()->AtEndOfTurn([self = std::move(self_)] {});
  }

  Upstream* const upstream_;
  const HealthDone done_;
  std::unique_ptr<transport::ClientStream> stream_;
  transport::EventLoop::TimerId timer_ = 0;
  std::shared_ptr<WatchCheck> self_;
};

}  // namespace

void CheckRead(Upstream* upstream, const KeyNamespace& space, HealthDone done) {
  etcdserverpb::RangeRequest read;
  read.set_key(space.Enter(kKey));
  UpstreamRequest request;
  request.path = "/etcdserverpb.KV/Range";
  request.body = Serialize(read);
  request.deadline_ns = upstream->loop()->NowNs() + kReadTimeoutNs;
  request.again = UpstreamRequest::Again::kAlways;
  upstream->Call(
      std::move(request), [done = std::move(done)](const RpcStatus& status, const Bytes&) {
        const bool answered = status.ok() || status.message == "etcdserver: permission denied";
        done(answered ? "" : StrCat("GET ERROR:", status.message));
      });
}

void CheckReadAndWatch(Upstream* upstream, const KeyNamespace& space, HealthDone done) {
  CheckRead(upstream, space,
            [upstream, key = space.Enter(kKey), done = std::move(done)](const std::string& reason) {
              if (!reason.empty()) return done(reason);
              std::make_shared<WatchCheck>(upstream, done)->Start(key);
            });
}

}  // namespace quorate::proxy
