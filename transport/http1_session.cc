#include "transport/http1_session.h"

#include <utility>

#include "base/check.h"

namespace quorate::transport {

Http1Session::Http1Session(const LoopContext* context, ProtocolHost* host,
                           std::shared_ptr<const PeerInfo> peer)
    : context_(context),
      host_(host),
      peer_(std::move(peer)),
      parser_(context->options->http_body_bytes_max),
      last_receive_ns_(context->loop->NowNs()),
      self_(std::make_shared<Http1Session*>(this)) {
  RearmIdleTimer();
}

Protocol::Verdict Http1Session::Receive(std::string_view bytes) {
  last_receive_ns_ = context_->loop->NowNs();
  if (closing_) return Verdict::kContinue;
  input_.append(bytes);
  Process();
  return Verdict::kContinue;
}

void Http1Session::Process() {
  // An answer given from inside the handler comes back here; the loop below goes on with it.
  if (processing_) return;
  processing_ = true;
  std::string_view rest = input_;
  while (!waiting_ && !closing_ && !rest.empty()) {
    switch (parser_.Next(&rest)) {
      case Http1Parser::Result::kNeedMore:
        break;
      case Http1Parser::Result::kContinue:
        out_ += "HTTP/1.1 100 Continue\r\n\r\n";
        host_->FlushSoon();
        break;
      case Http1Parser::Result::kHead:
      case Http1Parser::Result::kBody:
        QR_CHECK_MSG(false, "bodies are not streamed here");
        break;
      case Http1Parser::Result::kRequest:
        HandOut();
        break;
      case Http1Parser::Result::kError:
        LoopCounters::Add(&context_->counters->protocol_errors, 1);
        RespondError(parser_.error_status());
        break;
    }
  }
  if (closing_) rest = {};
  input_.erase(0, input_.size() - rest.size());
  processing_ = false;
  if (peer_closed_ && !waiting_) {
    closing_ = true;
    host_->FlushSoon();
  }
}

void Http1Session::HandOut() {
  waiting_ = true;
  keep_alive_ = parser_.keep_alive();
  head_only_ = parser_.request().method == "HEAD";
  std::weak_ptr<Http1Session*> session = self_;
  (*context_->http)(std::move(parser_.request()), [session, peer = peer_](HttpResponse response) {
    if (Mailbox::OfThisThread() == peer->mailbox.get()) {
      if (const auto alive = session.lock()) (*alive)->Respond(std::move(response));
      return;
    }
    auto held = std::make_shared<HttpResponse>(std::move(response));
    peer->mailbox->RunOnLoop([session, held] {
      if (const auto alive = session.lock()) (*alive)->Respond(std::move(*held));
    });
  });
}

void Http1Session::Respond(HttpResponse response) {
  QR_CHECK_MSG(waiting_, "an HTTP request was answered twice");
  waiting_ = false;
  if (draining_) keep_alive_ = false;
  Write(response, head_only_ ? BodyUse::kLeftOut : BodyUse::kSent);
  if (!keep_alive_) closing_ = true;
  host_->FlushSoon();
  Process();
}

void Http1Session::RespondError(int status) {
  keep_alive_ = false;
  closing_ = true;
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  response.body = std::to_string(status) + " " + HttpReason(status);
  Write(response, BodyUse::kSent);
  host_->FlushSoon();
}

void Http1Session::Write(const HttpResponse& response, BodyUse body) {
  AppendHttp1Response(response, body, keep_alive_ ? AfterAnswer::kKeepAlive : AfterAnswer::kClose,
                      context_->options->clock->WallNs(), &out_);
}

void Http1Session::Pull(OutputBuffer* out, size_t) {
  if (out_.empty()) return;
  out->Append(Bytes::FromString(std::exchange(out_, std::string())));
}

void Http1Session::StartDrain() {
  draining_ = true;
  if (!waiting_ && !parser_.started()) {
    closing_ = true;
    host_->FlushSoon();
  }
}

void Http1Session::OnPeerClosed() {
  peer_closed_ = true;
  if (!waiting_) closing_ = true;
}

void Http1Session::OnLost() {
  self_.reset();
  context_->loop->CancelTimer(idle_timer_);
}

void Http1Session::RearmIdleTimer() {
  const int64_t due_ns = last_receive_ns_ + context_->options->http_idle_timeout_ns;
  idle_timer_ = context_->loop->RunAt(due_ns, [this] {
    const int64_t now_ns = context_->loop->NowNs();
    if (waiting_) last_receive_ns_ = now_ns;
    if (now_ns - last_receive_ns_ >= context_->options->http_idle_timeout_ns) {
      return host_->AbortSoon();
    }
    RearmIdleTimer();
  });
}

}  // namespace quorate::transport
