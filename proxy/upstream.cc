#include "proxy/upstream.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::proxy {

using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr int64_t kProbeIntervalNs = 1 * kNanosPerSecond;
constexpr int64_t kProbeTimeoutNs = 2 * kNanosPerSecond;
constexpr int64_t kRetryPauseNs = 50 * kNanosPerMilli;
// So long a call without a deadline of its own is tried while no member can be reached.
constexpr int64_t kPatienceNs = 3 * kNanosPerSecond;
constexpr char kProbePath[] = "/grpc.health.v1.Health/Check";

}  // namespace

struct Upstream::Pending {
  UpstreamRequest request;
  Done done;
  int64_t give_up_ns = 0;
};

bool Upstream::Lost(const RpcStatus& status) {
  return status.code == RpcCode::kUnavailable && !status.message.starts_with("etcdserver:");
}

bool Upstream::Unsent(const RpcStatus& status) {
  return Lost(status) && (status.message.starts_with("cannot connect to ") ||
                          status.message == "the server refused the stream");
}

absl::StatusOr<std::unique_ptr<Upstream>> Upstream::Create(transport::EventLoop* loop,
                                                           const UpstreamOptions& options) {
  std::unique_ptr<Upstream> upstream(new Upstream(loop, options));
  QR_RETURN_IF_ERROR(upstream->SetEndpoints(options.endpoints));
  return upstream;
}

Upstream::~Upstream() {
  alive_.reset();
  for (const auto& member : members_) loop_->CancelTimer(member->probe_timer);
}

absl::StatusOr<std::shared_ptr<Upstream::Member>> Upstream::MakeMember(
    const std::string& endpoint) const {
  QR_ASSIGN_OR_RETURN(const transport::Endpoint address, transport::ParseEndpoint(endpoint));
  transport::ChannelOptions options;
  options.host = address.host;
  options.port = address.port;
  options.tls = transport::TlsFor(address, options_.tls);
  options.keepalive_time_ns = options_.keepalive_time_ns;
  options.keepalive_timeout_ns = options_.keepalive_timeout_ns;
  options.keepalive_without_calls = options_.keepalive_without_calls;
  options.receive_message_bytes_max = options_.receive_message_bytes_max;
  auto member = std::make_shared<Member>();
  member->endpoint = endpoint;
  member->channel = transport::Channel::Create(loop_, options);
  return member;
}

absl::Status Upstream::SetEndpoints(const std::vector<std::string>& endpoints) {
  if (endpoints.empty()) return absl::InvalidArgumentError("--endpoints: none is given");
  std::vector<std::shared_ptr<Member>> members;
  std::vector<std::shared_ptr<Member>> fresh;
  for (const std::string& endpoint : endpoints) {
    const auto known = std::find_if(members_.begin(), members_.end(),
                                    [&](const auto& m) { return m->endpoint == endpoint; });
    if (known != members_.end()) {
      members.push_back(*known);
      continue;
    }
    QR_ASSIGN_OR_RETURN(auto member, MakeMember(endpoint));
    members.push_back(member);
    fresh.push_back(std::move(member));
  }
  members_ = std::move(members);
  for (const auto& member : fresh) Probe(member);
  return absl::OkStatus();
}

std::vector<std::string> Upstream::endpoints() const {
  std::vector<std::string> endpoints;
  for (const auto& member : members_) endpoints.push_back(member->endpoint);
  return endpoints;
}

std::shared_ptr<Upstream::Member> Upstream::Next() {
  for (size_t i = 0; i < members_.size(); ++i) {
    const auto& member = members_[next_++ % members_.size()];
    if (member->reachable) return member;
  }
  return members_[next_++ % members_.size()];
}

void Upstream::Avoid(const std::shared_ptr<Member>& member) {
  if (!member->reachable) return;
  member->reachable = false;
  LogWarn("a member cannot be reached", {{"endpoint", member->endpoint}});
  Probe(member);
}

void Upstream::Probe(const std::shared_ptr<Member>& member) {
  member->channel->Call(
      kProbePath, Bytes(), kProbeTimeoutNs, {},
      [weak = std::weak_ptr(alive_), member](const RpcStatus& status, const Bytes&) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        Upstream& upstream = **self;
        const auto& all = upstream.members_;
        if (std::find(all.begin(), all.end(), member) == all.end()) return;
        // Whatever it says, it is there.
        member->reachable = !Lost(status) && status.code != RpcCode::kDeadlineExceeded;
        if (member->reachable) return;
        member->probe_timer =
            upstream.loop_->RunAt(upstream.loop_->NowNs() + kProbeIntervalNs, [&upstream, member] {
              member->probe_timer = 0;
              upstream.Probe(member);
            });
      });
}

void Upstream::Call(UpstreamRequest request, Done done) {
  if (request.body.size() > options_.send_message_bytes_max) {
    return done({RpcCode::kResourceExhausted,
                 StrCat("trying to send message larger than max (", request.body.size(), " vs. ",
                        options_.send_message_bytes_max, ")")},
                Bytes());
  }
  auto pending = std::make_shared<Pending>();
  pending->give_up_ns = std::min(request.deadline_ns, loop_->NowNs() + kPatienceNs);
  pending->request = std::move(request);
  pending->done = std::move(done);
  Try(std::move(pending));
}

void Upstream::Try(std::shared_ptr<Pending> pending) {
  const UpstreamRequest& request = pending->request;
  int64_t timeout_ns = 0;
  if (request.deadline_ns != INT64_MAX) {
    timeout_ns = std::max<int64_t>(request.deadline_ns - loop_->NowNs(), 1);
  }
  const std::shared_ptr<Member> member = Next();
  member->channel->Call(
      request.path, request.body, timeout_ns, request.metadata,
      [weak = std::weak_ptr(alive_), member, pending](RpcStatus status, Bytes answer) {
        const auto self = weak.lock();
        if (!Lost(status) || self == nullptr) {
          return pending->done(std::move(status), std::move(answer));
        }
        Upstream& upstream = **self;
        upstream.Avoid(member);
        const bool again =
            pending->request.again == UpstreamRequest::Again::kAlways || Unsent(status);
        const int64_t next_ns = upstream.loop_->NowNs() + kRetryPauseNs;
        if (!again || next_ns >= pending->give_up_ns) {
          return pending->done(std::move(status), Bytes());
        }
        upstream.loop_->RunAt(next_ns, [weak, pending, status = std::move(status)] {
          const auto still = weak.lock();
          if (still == nullptr) return pending->done(status, Bytes());
          (*still)->Try(pending);
        });
      });
}

std::unique_ptr<transport::ClientStream> Upstream::Open(std::string_view path,
                                                        const transport::MetadataList& metadata,
                                                        transport::ClientStreamHandler* handler) {
  return Next()->channel->Open(path, metadata, handler);
}

}  // namespace quorate::proxy
