#include "transport/peer/dial_connection.h"

#include <netdb.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "transport/tls/tls_socket.h"

namespace quorate::transport {

std::string PeerUrl::authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::shared_ptr<DialConnection> DialConnection::Open(const DialContext* context, const PeerUrl& url,
                                                     int64_t idle_limit_ns, User* user) {
  std::shared_ptr<DialConnection> connection(new DialConnection(context, url, idle_limit_ns, user));
  connection->Start();
  return connection;
}

DialConnection::~DialConnection() { Close(); }

void DialConnection::Start() {
  moved_ns_ = context_->loop->NowNs();
  ArmIdleTimer();
  std::weak_ptr<DialConnection> self = weak_from_this();
  if (url_.scheme == PeerUrl::Scheme::kHttps && context_->tls == nullptr) {
    connect_error_ =
        "the URL is https, and this member has no certificate to show there; see "
        "--peer-cert-file";
    context_->loop->AtEndOfTurn([self] {
      if (const auto alive = self.lock()) alive->Lose(alive->connect_error_);
    });
    return;
  }
  std::vector<Address> numeric = Resolve(url_, AI_NUMERICHOST);
  if (!numeric.empty()) {
    // Not here: a refusal at once would call the user before it knows its connection.
    context_->loop->AtEndOfTurn([self, numeric] {
      if (const auto alive = self.lock()) alive->OnResolved(numeric);
    });
    return;
  }
  // A dead name server holds up this thread alone. It may outlive everything but the mailbox.
  std::thread([self, url = url_, mailbox = context_->mailbox] {
    mailbox->RunOnLoop([self, addresses = Resolve(url, 0)] {
      if (const auto alive = self.lock()) alive->OnResolved(addresses);
    });
  }).detach();
}

std::vector<DialConnection::Address> DialConnection::Resolve(const PeerUrl& url, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  std::vector<Address> addresses;
  if (getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found) != 0) {
    return addresses;
  }
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Address address{};
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.size = info->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

void DialConnection::OnResolved(std::vector<Address> addresses) {
  if (user_ == nullptr) return;
  addresses_ = std::move(addresses);
  ConnectNext();
}

std::unique_ptr<ByteSocket> DialConnection::MakeSocket(int fd) const {
  if (url_.scheme == PeerUrl::Scheme::kHttp) return MakePlainSocket(fd);
  return MakeTlsClientSocket(fd, context_->tls, url_.host, TlsProtocols::kHttp1);
}

void DialConnection::ConnectNext() {
  while (next_address_ < addresses_.size()) {
    const Address& address = addresses_[next_address_++];
    const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      connect_error_ = std::strerror(errno);
      continue;
    }
    TuneTcp(fd);
    socket_ = MakeSocket(fd);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 &&
        errno != EINPROGRESS) {
      connect_error_ = std::strerror(errno);
      socket_.reset();
      continue;
    }
    interest_ = EPOLLIN | EPOLLOUT;
    // The loop keeps this object until the turn in which it is unwatched has ended.
    context_->loop->Watch(fd, interest_,
                          [self = shared_from_this()](uint32_t events) { self->OnReady(events); });
    return;
  }
  Lose(connect_error_);
}

bool DialConnection::FinishConnect() {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) {
    connected_ = true;
    moved_ns_ = context_->loop->NowNs();
    return true;
  }
  connect_error_ = std::strerror(error);
  context_->loop->Unwatch(socket_->fd());
  socket_.reset();
  ConnectNext();
  return false;
}

void DialConnection::OnReady(uint32_t events) {
  if (user_ == nullptr) return;
  if (!connected_ && !FinishConnect()) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read();
  if (user_ != nullptr && socket_ != nullptr) Flush();
}

void DialConnection::Read() {
  const IoResult result = socket_->Read(context_->read_buffer, context_->read_buffer_bytes);
  if (result.kind == IoResult::Kind::kBlocked) return;
  if (result.kind == IoResult::Kind::kClosed) {
    const std::string error = socket_->error();
    return Lose(error.empty() ? "the peer closed the connection" : error);
  }
  moved_ns_ = context_->loop->NowNs();
  Parse(std::string_view(context_->read_buffer, result.bytes));
}

void DialConnection::Parse(std::string_view data) {
  while (user_ != nullptr) {
    switch (parser_.Next(&data)) {
      case Http1Parser::Result::kNeedMore:
        return;
      case Http1Parser::Result::kContinue:
        break;
      case Http1Parser::Result::kHead:
        user_->OnHead(parser_.status(), parser_.request());
        break;
      case Http1Parser::Result::kBody:
        user_->OnBody(parser_.body());
        break;
      case Http1Parser::Result::kRequest:
        user_->OnAnswer(parser_.keep_alive() ? User::Reuse::kMayFollow : User::Reuse::kOver);
        break;
      case Http1Parser::Result::kError:
        return Lose("the answer is no HTTP/1.1");
    }
  }
}

void DialConnection::Write(std::string_view bytes) {
  output_.Append(bytes);
  FlushSoon();
}

void DialConnection::Write(const Bytes& bytes) {
  output_.Append(bytes);
  FlushSoon();
}

void DialConnection::Write(OutputBuffer* bytes) {
  output_.Append(bytes);
  FlushSoon();
}

void DialConnection::FlushSoon() {
  above_low_ = above_low_ || output_.size() >= kLowBytes;
  if (flush_scheduled_) return;
  flush_scheduled_ = true;
  context_->loop->AtEndOfTurn([self = shared_from_this()] {
    self->flush_scheduled_ = false;
    if (self->user_ != nullptr && self->connected_) self->Flush();
  });
}

void DialConnection::Flush() {
  IoResult result;
  if (!socket_->established()) result = socket_->Write(nullptr, 0);
  if (!output_.empty() || socket_->WaitsForWritable(ByteSocket::Output::kNone)) {
    const size_t before = output_.size();
    result = output_.WriteTo(socket_.get());
    if (output_.size() != before) moved_ns_ = context_->loop->NowNs();
  }
  if (result.kind == IoResult::Kind::kClosed) {
    // A TLS alert may wait to be read that tells more.
    socket_->Read(context_->read_buffer, context_->read_buffer_bytes);
    const std::string error = socket_->error();
    return Lose(error.empty() ? "the connection is broken" : error);
  }
  const bool writes = socket_->WaitsForWritable(output_.empty() ? ByteSocket::Output::kNone
                                                                : ByteSocket::Output::kWaiting);
  const uint32_t wanted = writes ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (wanted != interest_) {
    interest_ = wanted;
    context_->loop->Change(socket_->fd(), interest_);
  }
  if (above_low_ && output_.size() < kLowBytes) {
    above_low_ = false;
    user_->OnDrained();
  }
}

void DialConnection::set_expecting(Expecting expecting) {
  expecting_ = expecting;
  moved_ns_ = context_->loop->NowNs();
}

void DialConnection::ArmIdleTimer() {
  idle_timer_ = context_->loop->RunAt(moved_ns_ + idle_limit_ns_, [this] {
    idle_timer_ = 0;
    const int64_t now_ns = context_->loop->NowNs();
    if (expecting_ == Expecting::kNothing) moved_ns_ = now_ns;
    if (now_ns - moved_ns_ >= idle_limit_ns_) {
      return Lose(connected_ ? "nothing has come or gone for too long"
                             : "connecting took too long");
    }
    ArmIdleTimer();
  });
}

void DialConnection::Lose(const std::string& reason) {
  const auto keep_alive = shared_from_this();
  User* const user = user_;
  Close();
  if (user != nullptr) user->OnLost(reason);
}

void DialConnection::Close() {
  if (user_ == nullptr) return;
  user_ = nullptr;
  context_->loop->CancelTimer(idle_timer_);
  if (socket_ != nullptr) {
    context_->loop->Unwatch(socket_->fd());
    socket_.reset();
  }
}

}  // namespace quorate::transport
