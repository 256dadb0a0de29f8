#include "transport/tcp_proxy.h"

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "transport/byte_socket.h"

namespace quorate::transport {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

// Begins to connect; null and *why when it cannot be begun.
std::unique_ptr<ByteSocket> Dial(const TcpProxy::Endpoint& endpoint, std::string* why) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int result =
      getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (result != 0) {
    *why = gai_strerror(result);
    return nullptr;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    TuneTcp(fd);
    auto socket = MakePlainSocket(fd);
    if (connect(fd, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS) return socket;
  }
  *why = std::strerror(errno);
  return nullptr;
}

// Of a connection that was being made.
int ConnectError(int fd) {
  int error = 0;
  socklen_t size = sizeof(error);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

// One client and, once it is reached, its endpoint. Held by the loop while a socket is watched.
class TcpProxy::Link : public std::enable_shared_from_this<TcpProxy::Link> {
 public:
  Link(TcpProxy* proxy, std::unique_ptr<ByteSocket> client) : proxy_(proxy) {
    sides_[0].socket = std::move(client);
  }

  void DialNext() {
    while ((remote_ = proxy_->Pick()) != nullptr) {
      std::string why;
      sides_[1].socket = Dial(remote_->endpoint, &why);
      if (sides_[1].socket != nullptr) {
        return proxy_->loop_.Watch(sides_[1].socket->fd(), EPOLLOUT,
                                   [self = shared_from_this()](uint32_t) { self->OnDialled(); });
      }
      proxy_->Deactivate(remote_, why);
    }
    // Nobody to talk to: the client's socket closes with this object.
  }

 private:
  struct Side {
    std::unique_ptr<ByteSocket> socket;
    std::string from;    // read here and not yet written there
    bool ended = false;  // nothing more is read or written here
    uint32_t interest = EPOLLIN;
  };

  void OnDialled() {
    const int fd = sides_[1].socket->fd();
    const int error = ConnectError(fd);
    proxy_->loop_.Unwatch(fd);
    if (error != 0) {
      proxy_->Deactivate(remote_, std::strerror(error));
      return DialNext();
    }
    for (int side = 0; side < 2; ++side) {
      proxy_->loop_.Watch(
          sides_[side].socket->fd(), EPOLLIN,
          [self = shared_from_this(), side](uint32_t events) { self->OnReady(side, events); });
    }
  }

  void OnReady(int side, uint32_t events) {
    if (sides_[0].socket == nullptr) return;  // closed in this turn
    Side& here = sides_[side];
    const bool readable = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    if (readable && here.from.empty() && !here.ended) Read(&here);
    if (!Write(&here, &sides_[1 - side]) || !Write(&sides_[1 - side], &here)) return Close();
    for (int i = 0; i < 2; ++i) {
      if (sides_[i].ended && (sides_[i].from.empty() || sides_[1 - i].ended)) return Close();
    }
    for (int i = 0; i < 2; ++i) UpdateInterest(&sides_[i], sides_[1 - i]);
  }

  void Read(Side* here) {
    here->from.resize(kBufferBytes);
    const IoResult result = here->socket->Read(here->from.data(), here->from.size());
    here->from.resize(result.kind == IoResult::Kind::kDone ? result.bytes : 0);
    if (result.kind != IoResult::Kind::kClosed) return;
    // It would go on saying so.
    here->ended = true;
    proxy_->loop_.Unwatch(here->socket->fd());
  }

  // False when the receiver is gone.
  static bool Write(Side* from, Side* to) {
    while (!from->from.empty() && !to->ended) {
      const iovec piece{from->from.data(), from->from.size()};
      const IoResult result = to->socket->Write(&piece, 1);
      if (result.kind != IoResult::Kind::kDone) return result.kind == IoResult::Kind::kBlocked;
      from->from.erase(0, result.bytes);
    }
    return true;
  }

  void UpdateInterest(Side* side, const Side& other) {
    if (side->ended) return;
    uint32_t wanted = side->from.empty() ? EPOLLIN : 0u;
    if (!other.from.empty()) wanted |= EPOLLOUT;
    if (wanted == side->interest) return;
    side->interest = wanted;
    proxy_->loop_.Change(side->socket->fd(), wanted);
  }

  void Close() {
    for (Side& side : sides_) {
      if (!side.ended) proxy_->loop_.Unwatch(side.socket->fd());
      side.socket.reset();
    }
  }

  TcpProxy* const proxy_;
  Remote* remote_ = nullptr;
  std::array<Side, 2> sides_;  // client, endpoint
};

// Whether an endpoint that was passed over can be reached again.
class TcpProxy::Probe : public std::enable_shared_from_this<TcpProxy::Probe> {
 public:
  Probe(TcpProxy* proxy, Remote* remote) : proxy_(proxy), remote_(remote) {}

  void Start() {
    std::string why;
    socket_ = Dial(remote_->endpoint, &why);
    if (socket_ == nullptr) return;
    proxy_->loop_.Watch(socket_->fd(), EPOLLOUT, [self = shared_from_this()](uint32_t) {
      const int fd = self->socket_->fd();
      const int error = ConnectError(fd);
      self->proxy_->loop_.Unwatch(fd);
      self->socket_.reset();
      if (error != 0 || self->remote_->active) return;
      self->remote_->active = true;
      LogInfo("activated", {{"address", self->remote_->endpoint.authority}});
    });
  }

 private:
  TcpProxy* const proxy_;
  Remote* const remote_;
  std::unique_ptr<ByteSocket> socket_;
};

TcpProxy::TcpProxy(Options options) : options_(std::move(options)), loop_(options_.clock) {
  QR_CHECK(!options_.endpoints.empty());
  for (const Endpoint& endpoint : options_.endpoints) remotes_.push_back({endpoint, true});
}

TcpProxy::~TcpProxy() = default;

absl::Status TcpProxy::Bind() {
  ServerOptions server_options;
  server_options.clock = options_.clock;
  QR_ASSIGN_OR_RETURN(Listener listener, Listener::Bind(options_.listen, server_options));
  listener_ = std::make_unique<Listener>(std::move(listener));
  return absl::OkStatus();
}

void TcpProxy::Run() {
  loop_.Post([this] {
    for (const int fd : listener_->fds()) {
      loop_.Watch(fd, EPOLLIN, [this, fd](uint32_t) { Accept(fd); });
    }
    ProbeInactive();
  });
  loop_.Run();
}

void TcpProxy::Accept(int fd) {
  for (;;) {
    const int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return;
    TuneTcp(accepted);
    std::make_shared<Link>(this, MakePlainSocket(accepted))->DialNext();
  }
}

TcpProxy::Remote* TcpProxy::Pick() {
  for (size_t i = 0; i < remotes_.size(); ++i) {
    Remote& remote = remotes_[picks_++ % remotes_.size()];
    if (remote.active) return &remote;
  }
  return nullptr;
}

void TcpProxy::Deactivate(Remote* remote, const std::string& why) {
  if (!remote->active) return;
  remote->active = false;
  LogWarn("deactivated endpoint", {{"address", remote->endpoint.authority}, {"error", why}});
}

void TcpProxy::ProbeInactive() {
  for (Remote& remote : remotes_) {
    if (!remote.active) std::make_shared<Probe>(this, &remote)->Start();
  }
  loop_.RunAt(loop_.NowNs() + options_.retry_delay_ns, [this] { ProbeInactive(); });
}

}  // namespace quorate::transport
