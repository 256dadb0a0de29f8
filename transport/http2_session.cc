#include "transport/http2_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "transport/grpc_wire.h"

namespace quorate::transport {
namespace {

// Receive windows: large enough that a put of the largest size never waits for an update on a
// network of a few milliseconds, small enough that a thousand connections cannot fill the memory.
constexpr int32_t kStreamWindowBytes = 1 << 20;
constexpr int32_t kConnectionWindowBytes = 4 << 20;
// A client may cancel this many calls at once and this many a second (CVE-2023-44487).
constexpr uint64_t kResetBurst = 4096;
constexpr uint64_t kResetsPerSecond = 512;
// Frames waiting for a peer that does not read, before we stop reading from it.
constexpr size_t kOutboundFramesMax = 4096;
constexpr int64_t kPullBytesMax = 256 * 1024;
// What a DATA frame carries at most when the peer has not asked for longer ones.
constexpr size_t kFrameBytes = 16 * 1024;
// The second GOAWAY follows the answer to a ping, or this when there is none.
constexpr int64_t kDrainPingNs = 250 * kNanosPerMilli;
constexpr int64_t kPingWithoutCallsNs = 7200 * kNanosPerSecond;
constexpr int kPingStrikesMax = 2;
constexpr uint8_t kDrainPing[8] = {'q', 'u', 'o', 'd', 'r', 'a', 'i', 'n'};
constexpr uint8_t kAlivePing[8] = {'q', 'u', 'o', 'a', 'l', 'i', 'v', 'e'};

constexpr uint8_t kStatic = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

nghttp2_nv Field(std::string_view name, std::string_view value, uint8_t flags) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          flags};
}
nghttp2_nv StaticField(std::string_view name, std::string_view value) {
  return Field(name, value, kStatic);
}
// Texts that hardly repeat stay out of the compression table.
nghttp2_nv TextField(std::string_view name, std::string_view value) {
  return Field(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX);
}

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

// The glue between nghttp2's C callbacks and the session.
struct Http2Session::Callbacks {
  static Http2Session* Self(void* user_data) { return static_cast<Http2Session*>(user_data); }
  static NativeCall* CallOf(nghttp2_session* session, int32_t stream_id) {
    return static_cast<NativeCall*>(nghttp2_session_get_stream_user_data(session, stream_id));
  }
  static bool IsRequest(const nghttp2_frame* frame) {
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  }

  static int BeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (IsRequest(frame)) Self(user_data)->head_.Clear();
    Self(user_data)->trailers_broken_ = false;
    return 0;
  }

  static int Header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user_data) {
    Http2Session* const self = Self(user_data);
    const std::string_view name_text = View(name, name_size);
    const std::string_view value_text = View(value, value_size);
    if (IsRequest(frame)) {
      self->OnHeader(name_text, value_text);
    } else if (!HeadRules::TrailerAllowed(name_text, value_text)) {
      self->trailers_broken_ = true;
    }
    return 0;
  }

  static int FrameReceived(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Session* self = Self(user_data);
    const bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (IsRequest(frame)) {
          self->OnRequestHead(frame->hd.stream_id, end_stream);
        } else {
          self->OnTrailers(frame->hd.stream_id, end_stream);
        }
        break;
      case NGHTTP2_DATA:
        if (end_stream) self->OnEndOfRequest(frame->hd.stream_id);
        break;
      case NGHTTP2_PING:
        self->OnPing(frame->ping, (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0);
        break;
      default:
        break;
    }
    return 0;
  }

  static int DataChunk(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* data,
                       size_t size, void* user_data) {
    Http2Session* self = Self(user_data);
    NativeCall* call = CallOf(session, stream_id);
    if (call != nullptr) {
      self->OnData(call, View(data, size));
    } else if (self->requests_.has_value()) {
      self->requests_->OnData(stream_id, View(data, size));
    }
    return 0;
  }

  static int StreamClosed(nghttp2_session* session, int32_t stream_id, uint32_t, void* user_data) {
    Http2Session* self = Self(user_data);
    NativeCall* call = CallOf(session, stream_id);
    if (call != nullptr) {
      self->OnStreamClosed(call);
    } else if (self->requests_.has_value()) {
      self->requests_->OnStreamClosed(stream_id);
    }
    return 0;
  }

  static int FrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    // The answer is complete and the client still sends: tell it to stop. Submitted earlier, the
    // reset would overtake the answer and drop it.
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0 &&
        !Self(user_data)->IsOtherRequest(frame->hd.stream_id)) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    if (frame->hd.type == NGHTTP2_HEADERS) Self(user_data)->ping_strikes_ = 0;
    if (frame->hd.type == NGHTTP2_GOAWAY) Self(user_data)->OnGoawaySent();
    return 0;
  }

  static int InvalidFrame(nghttp2_session*, const nghttp2_frame*, int, void* user_data) {
    LoopCounters::Add(&Self(user_data)->context_->counters->protocol_errors, 1);
    return 0;
  }

  static ssize_t Read(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                      nghttp2_data_source* source, void* user_data) {
    return Self(user_data)->ReadData(static_cast<NativeCall*>(source->ptr), length, flags);
  }

  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_header, size_t length,
                      nghttp2_data_source* source, void* user_data) {
    Http2Session* self = Self(user_data);
    self->TakeData(static_cast<NativeCall*>(source->ptr), frame_header, length);
    // Left alone, one call of mem_send makes frames as long as there are bytes and windows.
    return self->out_->size() < self->out_bytes_max_ ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* made = nullptr;
      QR_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, BeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, Header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, FrameReceived);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, DataChunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, StreamClosed);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, FrameSent);
      nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, InvalidFrame);
      nghttp2_session_callbacks_set_send_data_callback(made, SendData);
      return made;
    }();
    return table;
  }

  static const nghttp2_option* Options() {
    static const nghttp2_option* const options = [] {
      nghttp2_option* made = nullptr;
      QR_CHECK(nghttp2_option_new(&made) == 0);
      nghttp2_option_set_no_closed_streams(made, 1);
      nghttp2_option_set_no_http_messaging(made, 1);  // HeadRules says why
      nghttp2_option_set_stream_reset_rate_limit(made, kResetBurst, kResetsPerSecond);
      return made;
    }();
    return options;
  }
};

Http2Session::Http2Session(const LoopContext* context, ProtocolHost* host,
                           std::shared_ptr<const PeerInfo> peer, OtherRequests others)
    : context_(context), host_(host), peer_(std::move(peer)) {
  QR_CHECK(nghttp2_session_server_new2(&session_, Callbacks::Get(), this, Callbacks::Options()) ==
           0);
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, context_->options->header_list_bytes_max},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
  if (context_->options->max_concurrent_streams != UINT32_MAX) {
    settings.push_back(
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, context_->options->max_concurrent_streams});
  }
  QR_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) ==
           0);
  QR_CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                 kConnectionWindowBytes) == 0);
  if (others == OtherRequests::kServed) requests_.emplace(context_, host_, peer_, session_);
  last_receive_ns_ = context_->loop->NowNs();
  RearmKeepalive();
}

Http2Session::~Http2Session() {
  QR_CHECK(lost_ && calls_ == nullptr);
  nghttp2_session_del(session_);
}

Protocol::Verdict Http2Session::Receive(std::string_view bytes) {
  last_receive_ns_ = context_->loop->NowNs();
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  host_->FlushSoon();
  if (taken < 0) {
    LoopCounters::Add(&context_->counters->protocol_errors, 1);
    // A client that began with something else than the preface understands no GOAWAY.
    if (taken != NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      nghttp2_session_terminate_session(session_, taken == NGHTTP2_ERR_FLOODED
                                                      ? NGHTTP2_ENHANCE_YOUR_CALM
                                                      : NGHTTP2_PROTOCOL_ERROR);
    }
    return Verdict::kClose;
  }
  return Verdict::kContinue;
}

void Http2Session::Pull(OutputBuffer* out, size_t bytes_max) {
  out_ = out;
  out_bytes_max_ = bytes_max;
  do {
    while (out->size() < bytes_max) {
      const uint8_t* data = nullptr;
      const size_t before = out->size();
      const ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) {
        host_->AbortSoon();
        break;
      }
      if (size > 0) out->Append(View(data, static_cast<size_t>(size)));
      if (size == 0 && out->size() == before) break;
    }
    // A service told of room may queue more at once.
    std::vector<std::shared_ptr<NativeCall>> writable;
    writable.swap(writable_);
    for (const auto& call : writable) {
      if (call->handler_ != nullptr && !call->finishing_) call->handler_->OnWritable();
    }
    if (writable.empty()) break;
  } while (out->size() < bytes_max);
  out_ = nullptr;
}

bool Http2Session::Finished() const {
  if (closing_) return true;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

bool Http2Session::Overloaded() const {
  return nghttp2_session_get_outbound_queue_size(session_) > kOutboundFramesMax;
}

void Http2Session::OnLost() {
  lost_ = true;
  context_->loop->CancelTimer(keepalive_timer_);
  context_->loop->CancelTimer(drain_timer_);
  while (calls_ != nullptr) OnStreamClosed(calls_);
  if (requests_.has_value()) requests_->OnLost();
}

// --- requests

void Http2Session::OnHeader(std::string_view name, std::string_view value) {
  head_.list_bytes += name.size() + value.size() + 32;
  if (head_.list_bytes <= context_->options->header_list_bytes_max) head_.Field(name, value);
}

void Http2Session::OnRequestHead(int32_t stream_id, bool end_stream) {
  const auto refuse = [&](std::string_view http_status, RpcCode code, std::string text) {
    SubmitTrailersOnly(stream_id, nullptr, http_status, {code, std::move(text)});
  };
  const uint32_t list_bytes_max = context_->options->header_list_bytes_max;
  if (head_.list_bytes > list_bytes_max) {
    return refuse("200", RpcCode::kResourceExhausted,
                  "grpc: received header list larger than max (" +
                      std::to_string(head_.list_bytes) + " vs. " + std::to_string(list_bytes_max) +
                      ")");
  }
  if (!head_.rules.WellFormed()) return ResetMalformed(stream_id);
  if (requests_.has_value() && !IsGrpcContentType(head_.content_type)) {
    requests_->Begin(stream_id,
                     {head_.method,
                      head_.path,
                      head_.rules.content_length(),
                      {{"content-type", head_.content_type}, {"grpc-timeout", head_.timeout}},
                      head_.metadata});
    return end_stream ? requests_->OnHalfClose(stream_id) : void();
  }
  if (!IsGrpcContentType(head_.content_type)) {
    return refuse("415", RpcCode::kInvalidArgument,
                  "invalid gRPC request content-type \"" + head_.content_type + "\"");
  }
  if (!head_.broken_value.empty()) {
    return refuse("400", RpcCode::kInternal, std::move(head_.broken_value));
  }
  if (head_.method != "POST") {
    return refuse(
        "405", RpcCode::kInternal,
        "Received a HEADERS frame with :method \"" + head_.method + "\" which should be POST");
  }
  const Method* method = context_->services->Find(head_.path);
  if (method == nullptr) {
    RpcStatus status = UnknownMethodStatus(*context_->services, head_.path);
    return refuse("200", status.code, std::move(status.message));
  }
  const bool gzip = head_.encoding == "gzip";
  if (!gzip && !head_.encoding.empty() && head_.encoding != "identity") {
    return refuse(
        "200", RpcCode::kUnimplemented,
        "grpc: Decompressor is not installed for grpc-encoding \"" + head_.encoding + "\"");
  }
  NativeCall* call = StartCall(stream_id, method);
  call->body_bytes_left_ = head_.rules.content_length();
  if (gzip) {
    call->decoder_.set_encoding(MessageDecoder::Encoding::kGzip);
    call->gzip_answer_ = true;
  }
  if (head_.timeout_ns.has_value()) SetDeadline(call, *head_.timeout_ns);
  // Nobody waits any more: nothing is done.
  if (call->deadline_ns_ <= context_->loop->NowNs()) return DeadlineHit(call);
  if (drain_ != Drain::kNo && method->MayLast()) {
    return Finish(call, {RpcCode::kUnavailable, "the server is shutting down"});
  }
  if (method->bidi != nullptr) {
    call->handler_ = method->bidi(call->self_);
  }
  if (end_stream) OnHalfClose(call);
}

void Http2Session::OnTrailers(int32_t stream_id, bool end_stream) {
  if (trailers_broken_ || !end_stream) return ResetMalformed(stream_id);
  OnEndOfRequest(stream_id);
}

void Http2Session::OnEndOfRequest(int32_t stream_id) {
  auto* call = static_cast<NativeCall*>(nghttp2_session_get_stream_user_data(session_, stream_id));
  if (call != nullptr) return OnHalfClose(call);
  if (requests_.has_value()) requests_->OnHalfClose(stream_id);
}

void Http2Session::ResetMalformed(int32_t stream_id) {
  LoopCounters::Add(&context_->counters->protocol_errors, 1);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_PROTOCOL_ERROR);
}

NativeCall* Http2Session::StartCall(int32_t stream_id, const Method* method) {
  auto owned = std::make_shared<NativeCall>(peer_, this, stream_id, method,
                                            context_->options->receive_message_bytes_max);
  NativeCall* call = owned.get();
  call->self_ = std::move(owned);
  call->received_ns_ = context_->loop->NowNs();
  call->metadata_ = head_.metadata;
  call->next_ = calls_;
  if (calls_ != nullptr) calls_->previous_ = call;
  calls_ = call;
  ++call_count_;
  LoopCounters::Add(&context_->counters->streams, 1);
  nghttp2_session_set_stream_user_data(session_, stream_id, call);
  if (context_->options->observer != nullptr) {
    call->trace_ = context_->options->observer->Started(*method, *call);
  }
  return call;
}

void Http2Session::SetDeadline(NativeCall* call, int64_t timeout_ns) {
  const int64_t now_ns = context_->loop->NowNs();
  if (timeout_ns > INT64_MAX - now_ns) return;
  call->deadline_ns_ = now_ns + timeout_ns;
  call->deadline_timer_ =
      context_->loop->RunAt(call->deadline_ns_, [this, call] { DeadlineHit(call); });
}

void Http2Session::DeadlineHit(NativeCall* call) {
  call->cancelled_.store(true, std::memory_order_relaxed);
  if (call->trailers_submitted_) return;
  if (!call->queue_.empty()) {
    // Half a message may be out and the window never open again: only a reset says so.
    if (!call->finishing_) Handled(call, {RpcCode::kDeadlineExceeded, kDeadlineText});
    return Reset(call, NGHTTP2_CANCEL);
  }
  Finish(call, {RpcCode::kDeadlineExceeded, std::string(kDeadlineText)});
}

void Http2Session::OnData(NativeCall* call, std::string_view data) {
  if (call->body_bytes_left_.has_value()) {
    if (data.size() > *call->body_bytes_left_) return ResetMalformed(call->stream_id_);
    *call->body_bytes_left_ -= data.size();
  }
  while (!call->finishing_ && !call->requests_.complete()) {
    Bytes message;
    RpcStatus error;
    switch (call->decoder_.Next(&data, &message, &error)) {
      case MessageDecoder::Result::kNeedMore:
        return;
      case MessageDecoder::Result::kError:
        return Finish(call, std::move(error));
      case MessageDecoder::Result::kMessage:
        break;
    }
    if (context_->options->observer != nullptr) {
      context_->options->observer->MessageReceived(*call->method_, message.size());
    }
    Deliver(call, call->requests_.OnMessage(std::move(message)));
  }
}

void Http2Session::Deliver(NativeCall* call, RequestMessages::Next next) {
  if (next.refuse.has_value()) return Finish(call, *std::move(next.refuse));
  if (!next.deliver.has_value()) return;
  if (call->method_->bidi == nullptr) {
    call->received_ns_ = context_->loop->NowNs();
    call->method_->unary(call->self_, *std::move(next.deliver));
  } else if (call->handler_ != nullptr) {
    call->handler_->OnMessage(*std::move(next.deliver));
  }
}

void Http2Session::OnHalfClose(NativeCall* call) {
  if (call->half_closed_) return;
  call->half_closed_ = true;
  if (call->body_bytes_left_.value_or(0) > 0) return ResetMalformed(call->stream_id_);
  if (call->finishing_) return;
  if (call->decoder_.inside_message()) {
    const bool unary = call->method_->kind == Method::Kind::kUnary;
    return Finish(call, {unary ? RpcCode::kUnknown : RpcCode::kInternal, "unexpected EOF"});
  }
  Deliver(call, call->requests_.OnHalfClose());
  if (!call->finishing_ && call->handler_ != nullptr) call->handler_->OnHalfClose();
}

void Http2Session::OnStreamClosed(NativeCall* call) {
  if (!call->finishing_) {
    call->cancelled_.store(true, std::memory_order_relaxed);
    Handled(call, {RpcCode::kCanceled, {}});
  }
  call->over_.store(true, std::memory_order_release);
  if (call->deadline_timer_ != 0) context_->loop->CancelTimer(call->deadline_timer_);
  call->queue_.Clear();
  call->queued_bytes_.store(0, std::memory_order_relaxed);
  Unlink(call);
  call->session_ = nullptr;
  const std::shared_ptr<NativeCall> keep = std::move(call->self_);
  // The handler usually holds its call: it goes first, and the circle is broken.
  const std::unique_ptr<CallHandler> handler = std::move(call->handler_);
  if (handler != nullptr) handler->OnClosed();
  if (drain_ == Drain::kFinal) host_->FlushSoon();
}

void Http2Session::Unlink(NativeCall* call) {
  (call->previous_ != nullptr ? call->previous_->next_ : calls_) = call->next_;
  if (call->next_ != nullptr) call->next_->previous_ = call->previous_;
  call->next_ = call->previous_ = nullptr;
  --call_count_;
  LoopCounters::Add(&context_->counters->streams, -1);
  if (!lost_) nghttp2_session_set_stream_user_data(session_, call->stream_id_, nullptr);
}

// --- answers

void Http2Session::Queue(NativeCall* call, Message message) {
  const uint64_t size = message.size();
  if (size > INT32_MAX) {
    return Finish(call, {RpcCode::kResourceExhausted,
                         "grpc: trying to send message larger than max (" + std::to_string(size) +
                             " vs. " + std::to_string(INT32_MAX) + ")"});
  }
  if (context_->options->observer != nullptr) {
    context_->options->observer->MessageSent(*call->method_, size);
  }
  const bool gzip = call->gzip_answer_;
  const size_t framed = call->queue_.Push(
      std::move(message), gzip ? SendQueue::Compress::kGzip : SendQueue::Compress::kNo);
  if (gzip) {
    call->queued_bytes_.fetch_add(framed - (size + kMessagePrefixBytes), std::memory_order_relaxed);
  }
}

void Http2Session::Send(NativeCall* call, Message message) {
  if (call->finishing_) return;
  Queue(call, std::move(message));
  Continue(call);
}

void Http2Session::Finish(NativeCall* call, RpcStatus status) {
  if (call->finishing_) return;
  call->finishing_ = true;
  call->status_ = std::move(status);
  Handled(call, {call->status_.code, call->status_.message});
  Continue(call);
}

void Http2Session::Reply(NativeCall* call, Message message) {
  if (call->finishing_) return;
  Queue(call, std::move(message));
  if (call->finishing_) return;
  call->finishing_ = true;
  Handled(call, {});
  Continue(call);
}

void Http2Session::Handled(NativeCall* call, RpcOutcome outcome) {
  if (context_->options->observer == nullptr) return;
  outcome.took_ns = context_->options->clock->MonotonicNs() - call->received_ns_;
  context_->options->observer->Handled(*call->method_, outcome, std::move(call->trace_));
}

void Http2Session::Continue(NativeCall* call) {
  host_->FlushSoon();
  if (!call->response_started_) {
    call->response_started_ = true;
    if (call->queue_.empty()) {
      call->trailers_submitted_ = true;
      return SubmitTrailersOnly(call->stream_id_, call, "200", call->status_);
    }
    ShareTurns(call);
    const nghttp2_nv fields[] = {StaticField(":status", "200"),
                                 StaticField("content-type", "application/grpc"),
                                 StaticField("grpc-encoding", "gzip")};
    nghttp2_data_provider provider{};
    provider.source.ptr = call;
    provider.read_callback = Callbacks::Read;
    const int result = nghttp2_submit_response(session_, call->stream_id_, fields,
                                               call->gzip_answer_ ? 3 : 2, &provider);
    if (result != 0) Reset(call, NGHTTP2_INTERNAL_ERROR);
    return;
  }
  if (call->finishing_ && call->queue_.empty()) {
    // Not by way of ReadData: that is called only while the window is open, and trailers are not
    // subject to it.
    SubmitTrailers(call);
  } else if (call->deferred_) {
    call->deferred_ = false;
    nghttp2_session_resume_data(session_, call->stream_id_);
  }
}

// Without RFC 7540's priorities nghttp2 serves one stream to its end before it looks at the next,
// unless the stream is marked as one that can be used bit by bit (RFC 9218): those take turns, a
// frame each. What fits into one frame needs no mark.
void Http2Session::ShareTurns(NativeCall* call) {
  if (call->method_->kind == Method::Kind::kUnary &&
      call->queued_bytes_.load(std::memory_order_relaxed) <= kFrameBytes) {
    return;
  }
  const nghttp2_extpri incremental = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  const int result =
      nghttp2_session_change_extpri_stream_priority(session_, call->stream_id_, &incremental, 1);
  QR_CHECK(result == 0);
}

ssize_t Http2Session::ReadData(NativeCall* call, size_t length, uint32_t* flags) {
  if (call->queue_.SourceBytesLeft() > 0) StartPull(call);
  const SendQueue::Available ready = call->queue_.Ready(length);
  const bool last = call->finishing_ && ready.all;
  if (ready.bytes == 0 && !last) {
    call->deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (last) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    SubmitTrailers(call);
  }
  if (ready.bytes > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(ready.bytes);
}

void Http2Session::TakeData(NativeCall* call, const uint8_t* frame_header, size_t length) {
  constexpr size_t kFrameHeaderBytes = 9;
  out_->Append(View(frame_header, kFrameHeaderBytes));
  call->queue_.Take(length, out_);
  ping_strikes_ = 0;
  const size_t low = context_->options->writable_low_bytes;
  const size_t before = call->queued_bytes_.fetch_sub(length, std::memory_order_relaxed);
  if (before > low && before - length <= low && call->handler_ != nullptr) {
    writable_.push_back(call->self_);
  }
}

void Http2Session::StartPull(NativeCall* call) {
  MessageSource* source = call->queue_.SourceToPull();
  if (source == nullptr) return;
  const int64_t window =
      std::min(nghttp2_session_get_stream_remote_window_size(session_, call->stream_id_),
               nghttp2_session_get_remote_window_size(session_));
  const uint64_t bytes_max = std::min<uint64_t>(std::clamp<int64_t>(window, 1, kPullBytesMax),
                                                call->queue_.SourceBytesLeft());
  call->pulling_now_ = true;
  source->Pull(bytes_max, [keep = call->self_](absl::StatusOr<Bytes> pulled) {
    if (pulled.ok()) {
      keep->Hand(Completion::Kind::kPulled, Message(*std::move(pulled)), RpcStatus());
    } else {
      keep->Hand(Completion::Kind::kPullFailed, Message(),
                 {RpcCode::kInternal, std::string(pulled.status().message())});
    }
  });
  call->pulling_now_ = false;
}

void Http2Session::Pulled(NativeCall* call, Bytes bytes) {
  call->queue_.AddPulled(std::move(bytes));
  if (call->pulling_now_) return;  // ReadData goes on by itself
  Continue(call);
}

void Http2Session::PullFailed(NativeCall* call, RpcStatus status) {
  if (!call->finishing_) Handled(call, {status.code, status.message});
  Reset(call, NGHTTP2_INTERNAL_ERROR);
}

void Http2Session::SubmitTrailers(NativeCall* call) {
  if (call->trailers_submitted_) return;
  call->trailers_submitted_ = true;
  const std::string message = PercentEncode(call->status_.message);
  const nghttp2_nv fields[] = {StaticField("grpc-status", RpcCodeDigits(call->status_.code)),
                               TextField("grpc-message", message)};
  const int result =
      nghttp2_submit_trailer(session_, call->stream_id_, fields, message.empty() ? 1 : 2);
  if (result != 0) Reset(call, NGHTTP2_INTERNAL_ERROR);
}

void Http2Session::SubmitTrailersOnly(int32_t stream_id, NativeCall* call,
                                      std::string_view http_status, const RpcStatus& status) {
  const std::string message = PercentEncode(status.message);
  nghttp2_nv fields[5] = {StaticField(":status", http_status),
                          StaticField("content-type", "application/grpc"),
                          StaticField("grpc-status", RpcCodeDigits(status.code))};
  size_t count = 3;
  if (!message.empty()) fields[count++] = TextField("grpc-message", message);
  if (status.code == RpcCode::kUnimplemented) {
    // Whatever was not understood, the client may want to know what would be.
    fields[count++] = StaticField("grpc-accept-encoding", "gzip");
  }
  const int result = nghttp2_submit_response(session_, stream_id, fields, count, nullptr);
  if (result != 0 && call != nullptr) Reset(call, NGHTTP2_INTERNAL_ERROR);
  host_->FlushSoon();
}

void Http2Session::Reset(NativeCall* call, uint32_t error_code) {
  call->finishing_ = true;
  call->cancelled_.store(true, std::memory_order_relaxed);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->stream_id_, error_code);
  host_->FlushSoon();
}

// --- keeping alive and letting go

void Http2Session::OnPing(const nghttp2_ping& ping, bool ack) {
  if (ack) {
    keepalive_ping_out_ = false;
    if (drain_ == Drain::kNoticed && std::memcmp(ping.opaque_data, kDrainPing, 8) == 0) {
      FinishDrain();
    }
    return;
  }
  const int64_t now_ns = context_->loop->NowNs();
  const int64_t apart_ns =
      calls_ == nullptr ? kPingWithoutCallsNs : context_->options->keepalive_min_time_ns;
  if (last_client_ping_ns_ != INT64_MIN && now_ns - last_client_ping_ns_ < apart_ns) {
    ++ping_strikes_;
  }
  last_client_ping_ns_ = now_ns;
  if (ping_strikes_ <= kPingStrikesMax) return;
  LoopCounters::Add(&context_->counters->protocol_errors, 1);
  SubmitGoaway(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
  closing_ = true;
}

void Http2Session::SubmitGoaway(uint32_t error_code, std::string_view text) {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), error_code,
                        reinterpret_cast<const uint8_t*>(text.data()), text.size());
  host_->FlushSoon();
}

void Http2Session::RearmKeepalive() {
  const int64_t wait_ns = keepalive_ping_out_ ? context_->options->keepalive_timeout_ns
                                              : context_->options->keepalive_interval_ns;
  if (wait_ns > INT64_MAX - last_receive_ns_) return;
  const int64_t from_ns = keepalive_ping_out_ ? context_->loop->NowNs() : last_receive_ns_;
  keepalive_timer_ = context_->loop->RunAt(from_ns + wait_ns, [this] { KeepaliveTick(); });
}

void Http2Session::KeepaliveTick() {
  const int64_t now_ns = context_->loop->NowNs();
  if (keepalive_ping_out_) {
    if (now_ns - last_receive_ns_ >= context_->options->keepalive_timeout_ns) {
      return host_->AbortSoon();
    }
    keepalive_ping_out_ = false;
  } else if (now_ns - last_receive_ns_ >= context_->options->keepalive_interval_ns) {
    keepalive_ping_out_ = true;
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kAlivePing);
    host_->FlushSoon();
  }
  RearmKeepalive();
}

void Http2Session::StartDrain() {
  if (drain_ != Drain::kNo) return;
  drain_ = Drain::kNoticed;
  // Calls that the client has already put on the wire are still welcome: the last stream id that
  // counts is named only when the client must have seen the notice.
  nghttp2_submit_shutdown_notice(session_);
  drain_timer_ = context_->loop->RunAt(context_->loop->NowNs() + kDrainPingNs, [this] {
    if (drain_ == Drain::kNoticed) FinishDrain();
  });
  EndStreamingCalls();
  if (requests_.has_value()) requests_->StartDrain();
  host_->FlushSoon();
}

void Http2Session::OnGoawaySent() {
  // Submitted together with the notice, the ping would overtake it.
  if (drain_ == Drain::kNoticed) nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing);
}

void Http2Session::EndStreamingCalls() {
  for (NativeCall* call = calls_; call != nullptr; call = call->next_) {
    if (call->method_->MayLast()) {
      Finish(call, {RpcCode::kUnavailable, "the server is shutting down"});
    }
  }
}

void Http2Session::FinishDrain() {
  drain_ = Drain::kFinal;
  SubmitGoaway(NGHTTP2_NO_ERROR, "");
}

}  // namespace quorate::transport
