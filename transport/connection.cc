#include "transport/connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "transport/http1_session.h"
#include "transport/http2_session.h"

namespace quorate::transport {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Frames made ahead of what the socket takes, and one connection's share of a turn of its loop.
constexpr size_t kOutputBytesMax = 64 * 1024;
// A peer that does not close its side after we closed ours.
constexpr int64_t kLingerNs = kNanosPerSecond;
constexpr int64_t kDrainLingerNs = 100 * kNanosPerMilli;
// A peer that does not take the last bytes of a connection that is over.
constexpr int64_t kLastBytesNs = 10 * kNanosPerSecond;

}  // namespace

Connection::Connection(const LoopContext* context, ConnectionOwner* owner,
                       std::unique_ptr<ByteSocket> socket, ListenAddress::Serve serve,
                       std::shared_ptr<const PeerInfo> peer)
    : context_(context),
      owner_(owner),
      socket_(std::move(socket)),
      serve_(serve),
      peer_(std::move(peer)) {
  interest_ = EPOLLIN;
  context_->loop->Watch(socket_->fd(), interest_, [this](uint32_t events) { OnReady(events); });
  timer_ = context_->loop->RunAt(context_->loop->NowNs() + context_->options->preface_timeout_ns,
                                 [this] { Close(); });
}

Connection::~Connection() { QR_CHECK(gone_); }

void Connection::FlushSoon() {
  if (flush_scheduled_ || gone_) return;
  flush_scheduled_ = true;
  owner_->FlushAtEndOfTurn(this);
}

void Connection::AbortSoon() {
  abort_ = true;
  FlushSoon();
}

void Connection::OnReady(uint32_t events) {
  if (gone_) return;
  // The socket is dead both ways and would report that for ever.
  if (peer_closed_ && (events & (EPOLLHUP | EPOLLERR)) != 0) return Close();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    // What came stays in the socket, which is ready again in the next turn.
    if (!socket_->established() && !owner_->TakeHandshakeStep()) return;
    Read();
  }
  if (!gone_ && (events & EPOLLOUT) != 0) FlushSoon();
}

void Connection::Read() {
  const IoResult result = socket_->Read(owner_->read_buffer(), owner_->read_buffer_bytes());
  switch (result.kind) {
    case IoResult::Kind::kBlocked:
      if (socket_->WaitsForWritable(ByteSocket::Output::kNone)) FlushSoon();
      return;
    case IoResult::Kind::kClosed:
      if (!socket_->error().empty()) {
        LoopCounters::Add(&context_->counters->protocol_errors, 1);
      }
      peer_closed_ = true;
      if (protocol_ == nullptr || lingering_ || closing_) return Close();
      protocol_->OnPeerClosed();
      return FlushSoon();
    case IoResult::Kind::kDone:
      break;
  }
  LoopCounters::Add(&context_->counters->bytes_received, static_cast<int64_t>(result.bytes));
  if (lingering_ || closing_) return;  // read only to be thrown away
  const std::string_view bytes(owner_->read_buffer(), result.bytes);
  if (protocol_ != nullptr) return Feed(bytes);
  if (!Sniff(bytes)) {
    LoopCounters::Add(&context_->counters->protocol_errors, 1);
    Close();
  }
}

bool Connection::Sniff(std::string_view bytes) {
  const size_t earlier = first_bytes_.size();
  first_bytes_.append(bytes.substr(0, kPreface.size()));
  const size_t compared = std::min(first_bytes_.size(), kPreface.size());
  const bool http2 = first_bytes_.compare(0, compared, kPreface, 0, compared) == 0;
  // "P" may become POST or PRI: wait for more.
  if (http2 && compared < kPreface.size()) return true;
  const std::string first = std::exchange(first_bytes_, std::string());
  if (http2 && serve_ == ListenAddress::Serve::kHttpOnly) {
    RefuseHttp2();
    return true;
  }
  if (!http2 && serve_ == ListenAddress::Serve::kGrpcOnly) return false;
  if (!http2) {
    const auto c = static_cast<unsigned char>(first.front());
    const bool may_be_http1 =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '\r' || c == '\n';
    if (!may_be_http1) return false;
  }
  context_->loop->CancelTimer(timer_);
  timer_ = 0;
  if (socket_->encrypted()) {
    PeerInfo peer = *peer_;
    peer.encrypted = true;
    if (socket_->peer_certificate() != nullptr) peer.certificate = *socket_->peer_certificate();
    peer_ = std::make_shared<PeerInfo>(std::move(peer));
  }
  if (http2) {
    const bool others = peer_->encrypted && serve_ == ListenAddress::Serve::kGrpcAndHttp;
    protocol_ = std::make_unique<Http2Session>(
        context_, this, peer_,
        others ? Http2Session::OtherRequests::kServed : Http2Session::OtherRequests::kRefused);
  } else if (context_->http1) {
    protocol_ = context_->http1(this, peer_);
  } else {
    protocol_ = std::make_unique<Http1Session>(context_, this, peer_);
  }
  if (earlier > 0) Feed(std::string_view(first).substr(0, earlier));
  if (!closing_) Feed(bytes);
  return true;
}

void Connection::RefuseHttp2() {
  constexpr std::string_view kRefusal =
      "HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  output_ = owner_->TakeBuffer();
  output_->Append(kRefusal);
  closing_ = true;
  FlushSoon();
}

void Connection::Feed(std::string_view bytes) {
  if (protocol_->Receive(bytes) == Protocol::Verdict::kClose) closing_ = true;
  FlushSoon();
}

void Connection::Flush() {
  if (gone_) return;
  if (output_ == nullptr) output_ = owner_->TakeBuffer();
  // Once a turn: a peer that reads as fast as we write would hold up all others, and even what it
  // says itself meanwhile.
  more_ = false;
  if (!abort_ && protocol_ != nullptr && output_->size() < kOutputBytesMax) {
    protocol_->Pull(output_.get(), kOutputBytesMax);
  }
  if (!abort_ && (!output_->empty() || socket_->WaitsForWritable(ByteSocket::Output::kNone))) {
    const size_t before = output_->size();
    const IoResult result = output_->WriteTo(socket_.get());
    sent_bytes_ += before - output_->size();
    LoopCounters::Add(&context_->counters->bytes_sent,
                      static_cast<int64_t>(before - output_->size()));
    if (result.kind == IoResult::Kind::kClosed) abort_ = true;
    more_ = result.kind == IoResult::Kind::kDone && before >= kOutputBytesMax;
  }
  // What the protocol asked for meanwhile is done.
  flush_scheduled_ = false;
  if (abort_) return Close();
  const bool finished = closing_ || (protocol_ != nullptr && protocol_->Finished());
  if (output_->empty() && !socket_->WaitsForWritable(ByteSocket::Output::kNone)) {
    owner_->GiveBuffer(std::move(output_));
    if (finished && !lingering_) return Linger();
  } else if (finished && timer_ == 0) {
    timer_ = context_->loop->RunAt(context_->loop->NowNs() + kLastBytesNs, [this] { Close(); });
  }
  UpdateInterest();
}

// Closing at once while the peer's bytes are unread would reset the connection and could destroy
// our last answer on its way.
void Connection::Linger() {
  if (peer_closed_) return Close();
  if (protocol_ != nullptr) {
    protocol_->OnLost();
    protocol_.reset();
  }
  lingering_ = true;
  socket_->CloseWrite();
  context_->loop->CancelTimer(timer_);
  const int64_t linger_ns = draining_ ? kDrainLingerNs : kLingerNs;
  timer_ = context_->loop->RunAt(context_->loop->NowNs() + linger_ns, [this] { Close(); });
  UpdateInterest();
}

void Connection::UpdateInterest() {
  if (gone_) return;
  uint32_t wanted = output_ != nullptr || more_ ? EPOLLOUT : 0u;
  const bool overloaded = protocol_ != nullptr && protocol_->Overloaded();
  if (!peer_closed_ && !overloaded) wanted |= EPOLLIN;
  if (wanted == interest_) return;
  interest_ = wanted;
  context_->loop->Change(socket_->fd(), interest_);
}

void Connection::StartDrain() {
  if (gone_) return;
  draining_ = true;
  if (lingering_ || protocol_ == nullptr) return Close();
  protocol_->StartDrain();
  FlushSoon();
}

void Connection::Close() {
  if (gone_) return;
  gone_ = true;
  context_->loop->CancelTimer(timer_);
  if (protocol_ != nullptr) protocol_->OnLost();
  context_->loop->Unwatch(socket_->fd());
  socket_.reset();
  owner_->Gone(this);
}

}  // namespace quorate::transport
