#include "transport/peer/peer_links.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "transport/client.h"
#include "transport/listener.h"
#include "transport/native_loop.h"
#include "transport/peer/peer.h"
#include "transport/peer/peer_session.h"

namespace quorate::transport {
namespace {

constexpr size_t kRemotesMax = 32;
constexpr int kAcceptsPerTurn = 64;
// After a failed accept (no descriptor, no memory): the backlog waits, the loop does not spin.
constexpr int64_t kAcceptPauseNs = 100 * kNanosPerMilli;

absl::StatusOr<std::vector<PeerUrl>> ParseUrls(const std::vector<std::string>& texts) {
  std::vector<PeerUrl> urls;
  for (const std::string& text : texts) {
    auto parsed = ParseEndpoint(text);
    if (!parsed.ok()) return parsed.status();
    const bool https = parsed->scheme == Endpoint::Scheme::kHttps;
    urls.push_back(
        {https ? PeerUrl::Scheme::kHttps : PeerUrl::Scheme::kHttp, parsed->host, parsed->port});
  }
  if (urls.empty()) return absl::InvalidArgumentError("a peer without a URL");
  return urls;
}

ServerOptions LoopOptions(const PeerLinksOptions& options) {
  ServerOptions loop_options;
  loop_options.clock = options.clock;
  loop_options.tls = options.tls_listen;
  loop_options.endpoint = "peer";
  return loop_options;
}

}  // namespace

struct PeerLinks::Impl final : public PeerDirectory {
  Impl(const PeerLinksOptions& the_options, PeerEvents* events, HttpHandler http_handler);
  ~Impl() override { Stop(); }

  // --- any thread
  absl::Status AddPeer(MemberId id, const std::vector<std::string>& texts);
  void RemovePeer(MemberId id);
  std::shared_ptr<Peer> Get(MemberId id) const;
  void Send(MemberId to, std::vector<PeerMessage> messages);
  void Start();
  void Stop();

  // --- network thread
  const LinkContext& context() const override { return link; }
  Peer* Find(MemberId id) override { return Get(id).get(); }
  bool IsRemoved(MemberId id) const override {
    std::lock_guard lock(mutex);
    return removed.contains(id);
  }
  void AddRemote(MemberId id, std::string_view urls) override;
  const HttpHandler& http() const override { return handler; }
  void WatchListeners();
  void UnwatchListeners();
  void Accept(int fd, ListenAddress::Security security);

  // Stops it in its thread; destroyed when that turn has ended, no earlier: it may be in use.
  void Retire(std::shared_ptr<Peer> peer) {
    loop->Post([this, peer = std::move(peer)] {
      peer->Stop();
      loop->AtEndOfTurn([peer] {});
    });
  }

  const PeerLinksOptions options;
  const ServerOptions loop_options;
  const HttpHandler handler;
  const ServiceTable no_services;
  NativeLoop network;
  EventLoop* const loop;
  EventLoop snapshots;
  std::thread snapshot_thread;
  LinkContext link;
  std::vector<Listener> listeners;
  bool accepting = false;
  bool accept_failed = false;
  bool started = false;
  bool stopped = false;

  mutable std::mutex mutex;
  std::map<MemberId, std::shared_ptr<Peer>> peers;  // under mutex
  std::set<MemberId> removed;                       // under mutex
};

PeerLinks::Impl::Impl(const PeerLinksOptions& the_options, PeerEvents* events,
                      HttpHandler http_handler)
    : options(the_options),
      loop_options(LoopOptions(the_options)),
      handler(std::move(http_handler)),
      network(&loop_options, &no_services, &handler,
              [this](ProtocolHost* host, std::shared_ptr<const PeerInfo> info) {
                return std::make_unique<PeerSession>(this, host, std::move(info));
              }),
      loop(network.loop()),
      snapshots(the_options.clock) {
  QR_CHECK(events != nullptr && options.clock != nullptr);
  link.options = &options;
  link.identity = {options.self, options.cluster, options.server_version,
                   options.min_cluster_version, options.advertise_urls};
  link.loop = loop;
  link.snapshot_loop = &snapshots;
  link.mailbox = std::make_shared<Mailbox>(loop, nullptr);
  link.dial = {loop, link.mailbox, network.read_buffer(), network.read_buffer_bytes(),
               options.tls_dial};
  link.events = events;
}

void PeerLinks::Impl::Start() {
  QR_CHECK(!started);
  started = true;
  snapshot_thread = std::thread([this] {
    SetThreadName("snapshots");
    snapshots.Run();
  });
  network.Start("peers");
  loop->Post([this] { WatchListeners(); });
}

void PeerLinks::Impl::Stop() {
  if (stopped) return;
  stopped = true;
  if (started) {
    loop->Post([this] {
      UnwatchListeners();
      std::map<MemberId, std::shared_ptr<Peer>> all;
      {
        std::lock_guard lock(mutex);
        all.swap(peers);
      }
      for (const auto& [id, peer] : all) peer->Stop();
      loop->AtEndOfTurn([all] {});
    });
  }
  network.StopAndJoin();
  if (started) {
    snapshots.Stop();
    snapshot_thread.join();
  }
  link.mailbox->Close();
  listeners.clear();
}

void PeerLinks::Impl::WatchListeners() {
  if (accepting || listeners.empty()) return;
  accepting = true;
  for (const Listener& listener : listeners) {
    for (const int fd : listener.fds()) {
      loop->Watch(fd, EPOLLIN,
                  [this, fd, security = listener.security()](uint32_t) { Accept(fd, security); });
    }
  }
}

void PeerLinks::Impl::UnwatchListeners() {
  if (!accepting) return;
  accepting = false;
  for (const Listener& listener : listeners) {
    for (const int fd : listener.fds()) loop->Unwatch(fd);
  }
}

void PeerLinks::Impl::Accept(int fd, ListenAddress::Security security) {
  for (int i = 0; i < kAcceptsPerTurn && accepting; ++i) {
    const int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) {
      accept_failed = false;
      network.Adopt({accepted, ListenAddress::Serve::kHttpOnly, security});
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
    if (!std::exchange(accept_failed, true)) {
      LogWarn("failed to accept a peer's connection; trying again until it works",
              {{"error", std::strerror(errno)}});
    }
    UnwatchListeners();
    loop->RunAt(loop->NowNs() + kAcceptPauseNs, [this] { WatchListeners(); });
    return;
  }
}

std::shared_ptr<Peer> PeerLinks::Impl::Get(MemberId id) const {
  std::lock_guard lock(mutex);
  const auto found = peers.find(id);
  return found == peers.end() ? nullptr : found->second;
}

absl::Status PeerLinks::Impl::AddPeer(MemberId id, const std::vector<std::string>& texts) {
  absl::StatusOr<std::vector<PeerUrl>> urls = ParseUrls(texts);
  if (!urls.ok()) return urls.status();
  std::lock_guard lock(mutex);
  if (removed.contains(id)) return absl::FailedPreconditionError("the member was removed");
  std::shared_ptr<Peer>& peer = peers[id];
  if (peer != nullptr && peer->role() == Peer::Role::kMember) {
    loop->Post([peer, urls = *std::move(urls)] { peer->SetUrls(urls); });
    return absl::OkStatus();
  }
  if (peer != nullptr) Retire(std::move(peer));
  peer = std::make_shared<Peer>(&link, id, Peer::Role::kMember, *std::move(urls));
  loop->Post([peer] { peer->Start(); });
  return absl::OkStatus();
}

void PeerLinks::Impl::AddRemote(MemberId id, std::string_view urls) {
  if (urls.empty() || id == options.self) return;
  const std::vector<std::string> texts =
      absl::StrSplit(absl::string_view(urls.data(), urls.size()), ',');
  absl::StatusOr<std::vector<PeerUrl>> parsed = ParseUrls(texts);
  if (!parsed.ok()) return;
  std::lock_guard lock(mutex);
  const auto is_remote = [](const auto& entry) {
    return entry.second->role() == Peer::Role::kRemote;
  };
  if (peers.contains(id) ||
      std::count_if(peers.begin(), peers.end(), is_remote) >= static_cast<ptrdiff_t>(kRemotesMax)) {
    return;
  }
  peers[id] = std::make_shared<Peer>(&link, id, Peer::Role::kRemote, *std::move(parsed));
}

void PeerLinks::Impl::RemovePeer(MemberId id) {
  std::lock_guard lock(mutex);
  removed.insert(id);
  const auto found = peers.find(id);
  if (found == peers.end()) return;
  Retire(std::move(found->second));
  peers.erase(found);
}

void PeerLinks::Impl::Send(MemberId to, std::vector<PeerMessage> messages) {
  if (messages.empty()) return;
  std::shared_ptr<Peer> peer = Get(to);
  if (peer == nullptr) return;
  const PeerQueue::Pushed pushed = peer->queue()->Push(std::move(messages));
  if (pushed.dropped > 0) {
    peer->CountDropped(pushed.dropped);
    loop->Post([peer] { peer->ReportUnreachable(); });
  }
  if (pushed.wake) loop->Post([peer = std::move(peer)] { peer->OnQueued(); });
}

PeerLinks::PeerLinks(const PeerLinksOptions& options, PeerEvents* events, HttpHandler http)
    : impl_(std::make_unique<Impl>(options, events, std::move(http))) {}

PeerLinks::~PeerLinks() = default;

absl::Status PeerLinks::Bind() {
  ServerOptions options;
  for (const ListenAddress& address : impl_->options.listen) {
    absl::StatusOr<Listener> bound = Listener::Bind(address, options);
    if (!bound.ok()) {
      impl_->listeners.clear();
      return bound.status();
    }
    impl_->listeners.push_back(*std::move(bound));
  }
  return absl::OkStatus();
}

std::vector<uint16_t> PeerLinks::ports() const {
  std::vector<uint16_t> ports;
  for (const Listener& listener : impl_->listeners) ports.push_back(listener.port());
  return ports;
}

void PeerLinks::Start() { impl_->Start(); }
void PeerLinks::Stop() { impl_->Stop(); }

absl::Status PeerLinks::AddPeer(MemberId id, const std::vector<std::string>& urls) {
  return impl_->AddPeer(id, urls);
}

absl::Status PeerLinks::UpdatePeer(MemberId id, const std::vector<std::string>& urls) {
  return impl_->AddPeer(id, urls);
}

void PeerLinks::RemovePeer(MemberId id) { impl_->RemovePeer(id); }

void PeerLinks::Send(MemberId to, std::vector<PeerMessage> messages) {
  impl_->Send(to, std::move(messages));
}

void PeerLinks::SendSnapshot(PeerMessage message, std::unique_ptr<SnapshotSource> source,
                             std::function<void(absl::Status)> done) {
  auto held = std::make_shared<std::pair<PeerMessage, std::unique_ptr<SnapshotSource>>>(
      std::move(message), std::move(source));
  impl_->loop->Post([peer = impl_->Get(held->first.to), held, done = std::move(done)] {
    if (peer == nullptr) return done(absl::NotFoundError("no such peer"));
    peer->SendSnapshot(std::move(held->first), std::move(held->second), done);
  });
}

int64_t PeerLinks::ActiveSinceNs(MemberId id) const {
  const std::shared_ptr<Peer> peer = impl_->Get(id);
  return peer == nullptr ? 0 : peer->active_since_ns();
}

std::vector<PeerStats> PeerLinks::stats() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<PeerStats> stats;
  for (const auto& [id, peer] : impl_->peers) stats.push_back(peer->stats());
  return stats;
}

}  // namespace quorate::transport
