#include "transport/http1_session.h"

#include <atomic>
#include <functional>
#include <utility>

#include "base/check.h"
#include "transport/exchange_events.h"

namespace quorate::transport {

// The services' end of it; outlives the session where they hold it longer.
class Http1Session::Exchange final : public HttpExchange,
                                     public std::enable_shared_from_this<Http1Session::Exchange> {
 public:
  Exchange(Http1Session* session, std::shared_ptr<const PeerInfo> peer)
      : session_(session), peer_(std::move(peer)), events_(session->context_->loop) {}

  void Listen(Events events) override { events_.Listen(std::move(events)); }
  void SpeakWebSocket(HttpResponse answer) override { session_->StartWebSocket(answer); }
  void StartBody(HttpResponse head) override {
    auto held = std::make_shared<HttpResponse>(std::move(head));
    OnLoop([held](Http1Session& session) { session.StartBody(std::move(*held)); });
  }
  void Write(std::string piece) override {
    queued_bytes_.fetch_add(piece.size(), std::memory_order_relaxed);
    auto held = std::make_shared<std::string>(std::move(piece));
    OnLoop([held](Http1Session& session) { session.WriteBody(*held); });
  }
  void EndBody() override {
    OnLoop([](Http1Session& session) { session.EndBody(); });
  }
  size_t QueuedBytes() const override { return queued_bytes_.load(std::memory_order_relaxed); }
  std::string peer() const override { return peer_->name; }

  // --- loop thread, for the session
  ExchangeEvents& events() { return events_; }
  void Taken() {
    queued_bytes_.store(0, std::memory_order_relaxed);
    events_.Writable();
  }
  // It may still be answered.
  void ClientGone() { events_.Close(); }
  void Close() {
    session_ = nullptr;
    ClientGone();
  }

 private:
  void OnLoop(std::function<void(Http1Session&)> task) {
    if (Mailbox::OfThisThread() == peer_->mailbox.get() && handed_over_.load() == 0) {
      if (session_ != nullptr) task(*session_);
      return;
    }
    handed_over_.fetch_add(1);
    peer_->mailbox->RunOnLoop([self = shared_from_this(), task = std::move(task)] {
      self->handed_over_.fetch_sub(1);
      if (self->session_ != nullptr) task(*self->session_);
    });
  }

  Http1Session* session_;  // loop thread; null: it is over
  const std::shared_ptr<const PeerInfo> peer_;
  ExchangeEvents events_;
  std::atomic<size_t> queued_bytes_{0};
  std::atomic<uint32_t> handed_over_{0};  // what the loop has not done yet comes first
};

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
  while (!closing_ && !rest.empty()) {
    if (websocket_.has_value()) {
      OnFrames(std::exchange(rest, {}));
      break;
    }
    if (waiting_) break;
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
  peer_->Describe(&parser_.request());
  exchange_ = std::make_shared<Exchange>(this, peer_);
  parser_.request().exchange = exchange_;
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

void Http1Session::StartWebSocket(const HttpResponse& answer) {
  QR_CHECK(waiting_ && answer.status == 101);
  Write(answer, BodyUse::kSent);
  websocket_.emplace();
  keep_alive_ = false;
  host_->FlushSoon();
}

void Http1Session::OnFrames(std::string_view bytes) {
  const auto body = [this](std::string_view piece) {
    if (exchange_ != nullptr) exchange_->events().Body(piece);
  };
  const auto verdict = websocket_->Receive(bytes, body, &out_);
  host_->FlushSoon();
  if (verdict == WebSocketExchange::Verdict::kGoesOn) return;
  closing_ = true;
  EndExchange();
}

void Http1Session::Respond(HttpResponse response) {
  QR_CHECK_MSG(waiting_ && !body_open_, "an HTTP request was answered twice");
  if (websocket_.has_value()) {
    body_open_ = true;
    WriteBody(response.body);
    return EndBody();
  }
  if (draining_) keep_alive_ = false;
  Write(response, head_only_ ? BodyUse::kLeftOut : BodyUse::kSent);
  Answered();
}

void Http1Session::StartBody(HttpResponse head) {
  QR_CHECK_MSG(waiting_ && !body_open_, "an HTTP request was answered twice");
  body_open_ = true;
  if (draining_) keep_alive_ = false;
  if (!websocket_.has_value()) Write(head, BodyUse::kChunked);
  WriteBody(head.body);
}

void Http1Session::WriteBody(std::string_view piece) {
  QR_CHECK(body_open_);
  if (websocket_.has_value()) {
    websocket_->Write(piece, &out_);
  } else if (!piece.empty()) {  // an empty chunk would be the end
    AppendHttp1Chunk(piece, &out_);
  }
  host_->FlushSoon();
}

void Http1Session::EndBody() {
  QR_CHECK(body_open_);
  body_open_ = false;
  if (websocket_.has_value()) {
    websocket_->End(&out_);
  } else {
    AppendHttp1Chunk("", &out_);
  }
  Answered();
}

void Http1Session::Answered() {
  waiting_ = false;
  EndExchange();
  if (!keep_alive_) closing_ = true;
  host_->FlushSoon();
  Process();
}

void Http1Session::EndExchange() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  if (exchange != nullptr) exchange->Close();
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
  if (exchange_ != nullptr) exchange_->Taken();
}

void Http1Session::StartDrain() {
  draining_ = true;
  if (!waiting_ && !parser_.started()) {
    closing_ = true;
    host_->FlushSoon();
  }
  // An answer in chunks lasts as long as its client wants.
  if (body_open_ || websocket_.has_value()) return host_->AbortSoon();
  if (waiting_ && exchange_ != nullptr) exchange_->ClientGone();
}

void Http1Session::OnPeerClosed() {
  peer_closed_ = true;
  if (!waiting_) closing_ = true;
  // As in etcd, a client that has shut its side waits no longer for what takes its time.
  if (waiting_ && exchange_ != nullptr) {
    if (body_open_ || websocket_.has_value()) return host_->AbortSoon();
    exchange_->ClientGone();
  }
}

void Http1Session::OnLost() {
  self_.reset();
  EndExchange();
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
