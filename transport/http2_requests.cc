#include "transport/http2_requests.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/check.h"
#include "transport/exchange_events.h"
#include "transport/http1_parser.h"
#include "transport/http1_response.h"
#include "transport/mailbox.h"

namespace quorate::transport {
namespace {

// Fields that mean a connection, which HTTP/2 has none of (RFC 9113 §8.2.2).
bool IsOfConnection(std::string_view lower_name) {
  return lower_name == "connection" || lower_name == "transfer-encoding" ||
         lower_name == "keep-alive";
}

nghttp2_nv Field(const std::pair<std::string, std::string>& field) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(field.first.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(field.second.data())), field.first.size(),
          field.second.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

// One request and its answer. Its stream holds it; the handler may hold it longer.
class Http2Requests::Exchange final : public HttpExchange,
                                      public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Http2Requests* the_owner, int32_t the_stream_id)
      : owner(the_owner),
        stream_id(the_stream_id),
        peer_(the_owner->peer_),
        events_(the_owner->context_->loop) {}

  void Listen(Events events) override { events_.Listen(std::move(events)); }
  void SpeakWebSocket(HttpResponse) override {
    QR_CHECK_MSG(false, "HTTP/2 has no fields that ask for one");
  }
  void StartBody(HttpResponse head) override { Answer(std::move(head), Body::kInPieces); }
  void Write(std::string piece) override {
    queued_bytes_.fetch_add(piece.size(), std::memory_order_relaxed);
    auto held = std::make_shared<std::string>(std::move(piece));
    OnLoop([held](Exchange& exchange) {
      exchange.body += *held;
      exchange.owner->Resume(&exchange);
    });
  }
  void EndBody() override {
    OnLoop([](Exchange& exchange) {
      exchange.ended = true;
      exchange.owner->Resume(&exchange);
      exchange.Over();
    });
  }
  size_t QueuedBytes() const override { return queued_bytes_.load(std::memory_order_relaxed); }
  std::string peer() const override { return peer_->name; }

  void Answer(HttpResponse response, Body how) {
    auto held = std::make_shared<HttpResponse>(std::move(response));
    OnLoop([held, how](Exchange& exchange) {
      exchange.owner->Respond(&exchange, std::move(*held), how);
    });
  }

  // --- loop thread
  ExchangeEvents& events() { return events_; }
  void Taken() {
    queued_bytes_.store(0, std::memory_order_relaxed);
    events_.Writable();
  }
  // It is answered, or nobody waits any more.
  void Over() { events_.Close(); }
  void Close() {
    owner = nullptr;
    Over();
  }

  Http2Requests* owner;  // null: the stream is gone
  const int32_t stream_id;
  HttpRequest request;
  std::optional<uint64_t> body_bytes_left;  // of what content-length promised
  bool head_only = false;
  bool handed_out = false;
  bool answered = false;
  std::string body;  // of the answer, as far as it is known
  size_t sent_bytes = 0;
  bool ended = false;     // nothing follows what is in body
  bool complete = false;  // all of the answer is with nghttp2
  bool deferred = false;  // nghttp2 waits for more of it

 private:
  void OnLoop(std::function<void(Exchange&)> task) {
    if (Mailbox::OfThisThread() == peer_->mailbox.get() && handed_over_.load() == 0) {
      if (owner != nullptr) task(*this);
      return;
    }
    handed_over_.fetch_add(1);
    peer_->mailbox->RunOnLoop([self = shared_from_this(), task = std::move(task)] {
      self->handed_over_.fetch_sub(1);
      if (self->owner != nullptr) task(*self);
    });
  }

  const std::shared_ptr<const PeerInfo> peer_;
  ExchangeEvents events_;
  std::atomic<size_t> queued_bytes_{0};
  std::atomic<uint32_t> handed_over_{0};  // what the loop has not done yet comes first
};

void Http2Requests::Begin(int32_t stream_id, const Head& head) {
  if (open_.size() >= kOpenMax) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_REFUSED_STREAM);
    return host_->FlushSoon();
  }
  auto exchange = std::make_shared<Exchange>(this, stream_id);
  open_[stream_id] = exchange;
  HttpRequest* const request = &exchange->request;
  request->method = head.method;
  exchange->head_only = head.method == "HEAD";
  exchange->body_bytes_left = head.content_length;
  request->headers = head.others.Fields();
  for (auto& [name, value] : request->headers) {
    if (name == ":authority") name = "host";
  }
  for (const auto& [name, value] : head.taken) {
    if (!value.empty()) request->headers.emplace_back(name, value);
  }
  peer_->Describe(request);
  if (!ParseHttpTarget(head.target, request)) return Refuse(exchange.get(), 400);
  const auto& conversations = context_->options->http_conversations;
  if (conversations == nullptr || !conversations(request->path)) return;
  request->body_follows = true;
  HandOut(exchange);
}

void Http2Requests::OnData(int32_t stream_id, std::string_view data) {
  const auto found = open_.find(stream_id);
  if (found == open_.end()) return;
  // Who takes a piece may answer with the last word.
  const std::shared_ptr<Exchange> exchange = found->second;
  // curl takes a reset right behind the answer for a failure: only who goes on is told to stop.
  if (exchange->complete) return Reset(*exchange, NGHTTP2_NO_ERROR);
  if (exchange->answered && !exchange->handed_out) return;
  if (exchange->body_bytes_left.has_value()) {
    if (data.size() > *exchange->body_bytes_left) return ResetMalformed(exchange.get());
    *exchange->body_bytes_left -= data.size();
  }
  if (exchange->handed_out) return exchange->events().Body(data);
  exchange->request.body.append(data);
  if (exchange->request.body.size() > context_->options->http_body_bytes_max) {
    Refuse(exchange.get(), 413);
  }
}

void Http2Requests::OnHalfClose(int32_t stream_id) {
  const auto found = open_.find(stream_id);
  if (found == open_.end()) return;
  // The answer may come at once and end the stream.
  const std::shared_ptr<Exchange> exchange = found->second;
  if (exchange->answered && !exchange->handed_out) return;
  if (exchange->body_bytes_left.value_or(0) > 0) return ResetMalformed(exchange.get());
  if (exchange->handed_out) return exchange->events().BodyEnd();
  HandOut(exchange);
}

void Http2Requests::OnStreamClosed(int32_t stream_id) {
  const auto found = open_.find(stream_id);
  if (found == open_.end()) return;
  const std::shared_ptr<Exchange> exchange = std::move(found->second);
  open_.erase(found);
  exchange->Close();
}

void Http2Requests::StartDrain() {
  // What is told may answer at once, but no stream closes before frames are sent.
  for (const auto& [stream_id, exchange] : open_) {
    if (exchange->answered && !exchange->ended) Reset(*exchange, NGHTTP2_CANCEL);
    exchange->Over();
  }
}

void Http2Requests::OnLost() {
  const auto open = std::exchange(open_, {});
  for (const auto& [stream_id, exchange] : open) exchange->Close();
}

void Http2Requests::HandOut(const std::shared_ptr<Exchange>& exchange) {
  exchange->handed_out = true;
  HttpRequest request = std::move(exchange->request);
  request.exchange = exchange;
  (*context_->http)(std::move(request), [exchange](HttpResponse response) {
    exchange->Answer(std::move(response), Body::kWhole);
  });
}

void Http2Requests::Refuse(Exchange* exchange, int status) {
  LoopCounters::Add(&context_->counters->protocol_errors, 1);
  HttpResponse response;
  response.status = status;
  Respond(exchange, std::move(response), Body::kWhole);
}

void Http2Requests::Respond(Exchange* exchange, HttpResponse response, Body body) {
  QR_CHECK_MSG(!exchange->answered, "an HTTP request was answered twice");
  exchange->answered = true;
  exchange->ended = body == Body::kWhole;
  std::vector<std::pair<std::string, std::string>> fields;
  fields.emplace_back(":status", std::to_string(response.status));
  for (auto& [name, value] : response.headers) {
    std::string lower = absl::AsciiStrToLower(name);
    if (!IsOfConnection(lower)) fields.emplace_back(std::move(lower), std::move(value));
  }
  fields.emplace_back("date", HttpDate(context_->options->clock->WallNs()));
  if (exchange->ended) {
    fields.emplace_back("content-length", std::to_string(response.body.size()));
  }
  std::vector<nghttp2_nv> block;
  for (const auto& field : fields) block.push_back(Field(field));
  exchange->body = std::move(response.body);
  nghttp2_data_provider provider{};
  provider.source.ptr = exchange;
  provider.read_callback = ReadBody;
  const bool has_body = !exchange->head_only && (!exchange->ended || !exchange->body.empty());
  exchange->complete = !has_body;
  if (nghttp2_submit_response(session_, exchange->stream_id, block.data(), block.size(),
                              has_body ? &provider : nullptr) != 0) {
    Reset(*exchange, NGHTTP2_INTERNAL_ERROR);
  }
  host_->FlushSoon();
  if (exchange->ended) exchange->Over();
}

void Http2Requests::Resume(Exchange* exchange) {
  if (std::exchange(exchange->deferred, false)) {
    nghttp2_session_resume_data(session_, exchange->stream_id);
  }
  host_->FlushSoon();
}

// What content-length says is not what came (RFC 9113 §8.1.1).
void Http2Requests::ResetMalformed(Exchange* exchange) {
  LoopCounters::Add(&context_->counters->protocol_errors, 1);
  Reset(*exchange, NGHTTP2_PROTOCOL_ERROR);
  exchange->answered = true;
  exchange->Close();
}

void Http2Requests::Reset(const Exchange& exchange, uint32_t error_code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, exchange.stream_id, error_code);
  host_->FlushSoon();
}

ssize_t Http2Requests::ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t length,
                                uint32_t* flags, nghttp2_data_source* source, void*) {
  auto* const exchange = static_cast<Exchange*>(source->ptr);
  if (exchange->owner == nullptr) return NGHTTP2_ERR_DEFERRED;  // it is being reset
  const size_t size = std::min(length, exchange->body.size() - exchange->sent_bytes);
  std::memcpy(buffer, exchange->body.data() + exchange->sent_bytes, size);
  exchange->sent_bytes += size;
  const bool all = exchange->sent_bytes == exchange->body.size();
  if (all) {
    exchange->body.clear();
    exchange->sent_bytes = 0;
  }
  if (all && exchange->ended) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    exchange->complete = true;
  } else if (all && size > 0) {
    // Who hears of it may write more at once, which nghttp2 does not take from here.
    exchange->owner->context_->loop->AtEndOfTurn([keep = exchange->shared_from_this()] {
      if (keep->owner != nullptr) keep->Taken();
    });
  }
  if (size == 0 && !exchange->ended) {
    exchange->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(size);
}

}  // namespace quorate::transport
