// The life of a node: start, serve, hand over, stop (wire facts, lifecycle §1 and §9).
#include "server/node.h"

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "server/node_parts.h"

namespace quorate::server {
namespace {

constexpr auto kTransferLook = std::chrono::milliseconds(2);

}  // namespace

bool Node::Parts::ProposeAndWait(const etcdserverpb::InternalRaftRequest& request) {
  struct Outcome {
    bool done = false;
    engine::Error error;
  };
  auto outcome = std::make_shared<Outcome>();
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.id = RequestId(request.header().id());
  proposal.waiter.deadline_ns = clock.MonotonicNs() + config.RequestTimeoutNs();
  proposal.waiter.done = [this, outcome](engine::Reply reply) {
    std::lock_guard lock(stop_mutex);
    outcome->done = true;
    outcome->error = std::move(reply.error);
    stop_wake.notify_all();
  };
  if (!loop->Propose(std::move(proposal))) return false;
  std::unique_lock lock(stop_mutex);
  stop_wake.wait(lock, [&] { return stopping || outcome->done; });
  if (!outcome->done) return false;
  if (outcome->error.ok()) return true;
  LogWarn("failed to publish local member to cluster through raft",
          {{"local-member-id", HexText(data.identity.member.value())},
           {"publish-timeout", FormatGoDuration(config.RequestTimeoutNs())},
           {"error", outcome->error.message}});
  return false;
}

bool Node::Parts::Publish() {
  for (;;) {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_header()->set_id(ids->Next());
    auto* attributes = request.mutable_cluster_member_attr_set();
    attributes->set_member_id(data.identity.member.value());
    attributes->mutable_member_attributes()->set_name(config.name);
    for (const std::string& url : config.advertise_client_urls) {
      attributes->mutable_member_attributes()->add_client_urls(url);
    }
    if (ProposeAndWait(request)) break;
    std::unique_lock lock(stop_mutex);
    if (stop_wake.wait_for(lock, std::chrono::nanoseconds(config.tick_ns),
                           [this] { return stopping; })) {
      return false;
    }
  }
  LogInfo("published local member to cluster through raft",
          {{"local-member-id", HexText(data.identity.member.value())},
           {"local-member-attributes", StrCat("{Name:", config.name, " ClientURLs:[",
                                              StrJoin(config.advertise_client_urls, " "), "]}")},
           {"cluster-id", HexText(data.identity.cluster.value())},
           {"publish-timeout", FormatGoDuration(config.RequestTimeoutNs())}});
  version_monitor->Look();
  return true;
}

void Node::Parts::ServeClients() {
  if (metrics_transport != nullptr) {
    metrics_transport->Serve();
    LogInfo("serving metrics", {{"address", StrJoin(config.listen_metrics_urls, ",")}});
  }
  client_transport->Serve();
  LogInfo("now serving peer/client/metrics",
          {{"local-member-id", HexText(data.identity.member.value())},
           {"listen-peer-urls", config.listen_peer_urls},
           {"listen-client-urls", config.listen_client_urls},
           {"listen-metrics-urls", config.listen_metrics_urls}});
  LogInfo("ready to serve client requests");
  for (const std::string& url : config.listen_client_urls) {
    const bool secure = url.starts_with("https://") || url.starts_with("unixs://");
    LogInfo(secure ? "serving client traffic securely"
                   : "serving client traffic insecurely; this is strongly discouraged!",
            {{"traffic", config.transport == "native" ? "grpc+http" : "grpc"},
             {"address", url.substr(url.find("//") + 2)}});
  }
}

// Bounded by one election timeout: by then the others elect one of themselves anyway, and a member
// that stops together with the rest finds nobody to take over.
void Node::Parts::HandOverLead() {
  const std::string self = HexText(data.identity.member.value());
  const ReplicaLoop::Counters& counters = loop->counters();
  if (counters.leader.load() != data.identity.member.value()) {
    return LogInfo("skipped leadership transfer; local server is not leader",
                   {{"local-member-id", self}});
  }
  std::promise<consensus::ConfState> asked;
  loop->Run([&](Replica& r) { asked.set_value(r.raft().conf_state()); });
  const consensus::ConfState members = asked.get_future().get();
  if (members.voters.size() == 1) {
    return LogInfo("skipped leadership transfer for single voting member cluster",
                   {{"local-member-id", self}});
  }
  const std::vector<MemberId> candidates = peers->ConnectedVoters(members);
  if (candidates.empty()) {
    return LogWarn("leadership transfer failed",
                   {{"local-member-id", self}, {"error", "no other voter is connected"}});
  }
  const MemberId to = candidates.front();
  const int64_t start_ns = clock.MonotonicNs();
  LogInfo("leadership transfer starting",
          {{"local-member-id", self}, {"transferee-member-id", HexText(to.value())}});
  loop->Run([to](Replica& r) { static_cast<void>(r.TransferLeadership(to)); });
  while (counters.leader.load() == data.identity.member.value() || counters.leader.load() == 0) {
    const bool late = clock.MonotonicNs() - start_ns > config.ElectionTimeoutNs();
    if (late || links->ActiveSinceNs(to) == 0) {
      return LogWarn("leadership transfer failed",
                     {{"local-member-id", self},
                      {"transferee-member-id", HexText(to.value())},
                      {"error", "etcdserver: request timed out, leader transfer took too long"}});
    }
    std::this_thread::sleep_for(kTransferLook);
  }
  LogInfo("leadership transfer finished",
          {{"local-member-id", self},
           {"transferee-member-id", HexText(to.value())},
           {"took", FormatGoDuration(clock.MonotonicNs() - start_ns)}});
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Node::~Node() { Stop(); }

void Node::Start(std::function<void()> ready) {
  Parts& p = *parts_;
  const std::string version = p.state->engine()->cluster_version();
  LogInfo("starting etcd server",
          {{"local-member-id", HexText(p.data.identity.member.value())},
           {"local-server-version", kEtcdVersion},
           {"cluster-version",
            version.empty() ? "to_be_decided" : version.substr(0, version.rfind('.'))}});
  // A member that was removed while it was down, or is started again after it.
  const bool removed = p.state->engine()->WasRemoved(p.data.identity.member);
  p.log_writer->Start();
  p.backend_writer->Start();
  p.loop->Start();
  p.links->Start();
  LogInfo("serving peer traffic", {{"address", StrJoin(p.config.listen_peer_urls, ",")}});
  if (removed) return p.peers->Removed();
  p.version_monitor->Start();
  p.corruption_monitor->Start();
  p.publisher = std::thread([&p, ready = std::move(ready)] {
    SetThreadName("publisher");
    if (!p.Publish()) return;
    p.ServeClients();
    ready();
  });
}

void Node::Stop() {
  if (parts_ == nullptr) return;
  Parts& p = *parts_;
  if (p.loop != nullptr) p.HandOverLead();
  LogInfo("closing etcd server", {{"name", p.config.name}, {"data-dir", p.config.data_dir}});
  {
    std::lock_guard lock(p.stop_mutex);
    p.stopping = true;
    p.stop_wake.notify_all();
  }
  if (p.publisher.joinable()) p.publisher.join();
  if (p.profiler != nullptr) p.profiler->Stop();
  p.version_monitor->Stop();
  p.corruption_monitor->Stop();
  const int64_t deadline_ns = p.clock.MonotonicNs() + p.config.RequestTimeoutNs();
  p.client_transport->Drain(deadline_ns);
  if (p.metrics_transport != nullptr) p.metrics_transport->Drain(deadline_ns);
  if (p.spans != nullptr) p.spans->Stop();
  // Everything applied goes to the backend, so that the next start replays nothing.
  std::promise<void> sealed;
  p.loop->Run([&](Replica& replica) {
    replica.SealNow();
    sealed.set_value();
  });
  sealed.get_future().wait();
  p.links->Stop();
  p.loop->Stop();
  p.workers.reset();
  p.peer_calls.reset();
  // The backend's last sync still tells the log what it may drop.
  p.backend_writer.reset();
  p.log_writer.reset();
  LogInfo("closed etcd server", {{"name", p.config.name}, {"data-dir", p.config.data_dir}});
  parts_.reset();
}

}  // namespace quorate::server
