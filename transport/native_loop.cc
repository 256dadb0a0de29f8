#include "transport/native_loop.h"

#include <utility>

#include "base/check.h"
#include "base/thread_name.h"
#include "base/thread_turns.h"
#include "transport/byte_socket.h"
#include "transport/tls/tls_socket.h"

namespace quorate::transport {
namespace {

constexpr size_t kSpareBuffersMax = 8;
// A turn that has taken so long begins no further step of a handshake, but for one.
constexpr int64_t kHandshakeTurnNs = kNanosPerMilli;
constexpr size_t kSpareBufferBytesMax = 1 << 20;

}  // namespace

NativeLoop::NativeLoop(const ServerOptions* options, const ServiceTable* services,
                       const HttpHandler* http, Http1Factory http1)
    : loop_(options->clock, EventLoop::Turns::kServedByOthers),
      context_{options, services, http, &loop_, &counters_, std::move(http1)},
      mailbox_(std::make_shared<Mailbox>(&loop_, [this] { DrainMailbox(); })),
      read_buffer_(std::make_unique_for_overwrite<char[]>(kReadBufferBytes)) {}

NativeLoop::~NativeLoop() { StopAndJoin(); }

void NativeLoop::StopAndJoin() {
  if (thread_.joinable()) {
    loop_.Post([this] {
      CloseAll();
      loop_.Stop();
    });
    thread_.join();
  }
  mailbox_->Close();
}

void NativeLoop::Start(const char* name) {
  thread_ = std::thread([this, name] {
    SetThreadName(name);
    Mailbox::OfThisThread() = mailbox_.get();
    AskForShortTurns();
    loop_.Run();
  });
}

std::unique_ptr<ByteSocket> NativeLoop::SocketOf(const Accepted& accepted) const {
  if (accepted.security == ListenAddress::Security::kPlain) return MakePlainSocket(accepted.fd);
  TlsListen listen;
  listen.endpoint = context_.options->endpoint;
  if (accepted.security == ListenAddress::Security::kBoth) {
    listen.first = TlsListen::First::kPlainToo;
  }
  if (accepted.serve == ListenAddress::Serve::kHttpOnly) listen.protocols = TlsProtocols::kHttp1;
  if (accepted.serve == ListenAddress::Serve::kGrpcOnly) listen.protocols = TlsProtocols::kHttp2;
  return MakeTlsServerSocket(accepted.fd, context_.options->tls, listen);
}

void NativeLoop::Adopt(const Accepted& accepted) {
  TuneTcp(accepted.fd);
  auto peer = std::make_shared<PeerInfo>(PeerInfo{PeerName(accepted.fd), mailbox_});
  auto connection = std::make_unique<Connection>(&context_, this, SocketOf(accepted),
                                                 accepted.serve, std::move(peer));
  Connection* raw = connection.get();
  raw->set_index(connections_.size());
  connections_.push_back(std::move(connection));
  LoopCounters::Add(&counters_.connections, 1);
  LoopCounters::Add(&counters_.connections_total, 1);
  if (draining_) raw->StartDrain();
}

void NativeLoop::StartDrain() {
  draining_ = true;
  // A connection that has not spoken yet closes at once and leaves the list.
  for (size_t i = connections_.size(); i > 0; --i) {
    if (i <= connections_.size()) connections_[i - 1]->StartDrain();
  }
}

void NativeLoop::CloseAll() {
  while (!connections_.empty()) connections_.back()->Close();
}

void NativeLoop::Gone(Connection* connection) {
  const size_t index = connection->index();
  QR_CHECK(connections_[index].get() == connection);
  gone_.push_back(std::move(connections_[index]));
  if (index + 1 < connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->set_index(index);
  }
  connections_.pop_back();
  LoopCounters::Add(&counters_.connections, -1);
  EndOfTurnSoon();
  if (on_gone_) on_gone_();
}

bool NativeLoop::TakeHandshakeStep() {
  const int64_t turn_ns = context_.options->clock->MonotonicNs() - loop_.NowNs();
  if (handshake_step_taken_ && turn_ns >= kHandshakeTurnNs) return false;
  handshake_step_taken_ = true;
  EndOfTurnSoon();
  return true;
}

void NativeLoop::FlushAtEndOfTurn(Connection* connection) {
  to_flush_.push_back(connection);
  EndOfTurnSoon();
}

void NativeLoop::EndOfTurnSoon() {
  if (end_of_turn_set_) return;
  end_of_turn_set_ = true;
  loop_.AtEndOfTurn([this] { EndOfTurn(); });
}

void NativeLoop::EndOfTurn() {
  end_of_turn_set_ = false;
  handshake_step_taken_ = false;
  flushing_.swap(to_flush_);
  for (Connection* connection : flushing_) connection->Flush();
  flushing_.clear();
  // A connection that went in this turn may still be listed for a flush.
  if (to_flush_.empty()) gone_.clear();
}

void NativeLoop::DrainMailbox() {
  mailbox_->Take(&completions_);
  for (Completion& completion : completions_) NativeCall::Deliver(std::move(completion));
  completions_.clear();
}

std::unique_ptr<OutputBuffer> NativeLoop::TakeBuffer() {
  if (buffers_.empty()) return std::make_unique<OutputBuffer>();
  auto buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void NativeLoop::GiveBuffer(std::unique_ptr<OutputBuffer> buffer) {
  if (buffers_.size() < kSpareBuffersMax && buffer->capacity() <= kSpareBufferBytesMax) {
    buffers_.push_back(std::move(buffer));
  }
}

}  // namespace quorate::transport
