#include "transport/peer/prober.h"

namespace quorate::transport {

void Prober::Stop() {
  peer_->context().loop->CancelTimer(timer_);
  timer_ = 0;
  Hang();
}

void Prober::Hang() {
  if (connection_ != nullptr) connection_->Close();
  connection_.reset();
}

void Prober::ProbeLater() {
  const LinkContext& context = peer_->context();
  timer_ = context.loop->RunAt(context.loop->NowNs() + context.options->probe_interval_ns, [this] {
    timer_ = 0;
    Probe();
  });
}

void Prober::Probe() {
  const LinkContext& context = peer_->context();
  if (url_ != peer_->url()) Hang();
  if (connection_ == nullptr) {
    url_ = peer_->url();
    connection_ = DialConnection::Open(&context.dial, url_, context.options->io_timeout_ns, this);
  }
  connection_->set_expecting(DialConnection::Expecting::kBytes);
  sent_ns_ = context.loop->NowNs();
  connection_->Write(PeerRequestHead("GET", "/raft/probing", url_, {}, ""));
}

void Prober::OnHead(int status, const HttpRequest&) { status_ = status; }

void Prober::OnAnswer(Reuse reuse) {
  const LinkContext& context = peer_->context();
  if (status_ == 200) {
    context.events->OnRoundTrip(peer_->id(), context.loop->NowNs() - sent_ns_);
  }
  connection_->set_expecting(DialConnection::Expecting::kNothing);
  if (reuse == Reuse::kOver) Hang();
  ProbeLater();
}

void Prober::OnLost(const std::string&) {
  Hang();
  // Lost while idle: the timer runs already.
  if (timer_ == 0) ProbeLater();
}

}  // namespace quorate::transport
