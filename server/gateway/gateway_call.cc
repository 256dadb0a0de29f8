#include "server/gateway/gateway_call.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "server/gateway/json_writer.h"

namespace quorate::server {

using google::protobuf::Message;
using google::protobuf::MessageFactory;
using transport::HttpResponse;
using transport::RpcCode;
using transport::RpcStatus;

namespace {

// Above it a service that sends much waits; it hears of room again when less is queued.
constexpr size_t kWritableLowBytes = 256 << 10;

constexpr std::string_view kMetadataPrefix = "grpc-metadata-";
constexpr std::string_view kBearer = "Bearer ";

std::string ErrorJson(const RpcStatus& status) {
  std::string json = StrCat("{\"code\":", static_cast<int>(status.code), ",\"message\":");
  AppendJsonString(status.message, &json);
  json.push_back('}');
  return json;
}

constexpr char kJsonType[] = "application/json";

}  // namespace

RpcStatus DeadlineStatus() { return {RpcCode::kDeadlineExceeded, "context deadline exceeded"}; }

std::unique_ptr<Message> NewMessage(const google::protobuf::Descriptor& type) {
  const Message* prototype = MessageFactory::generated_factory()->GetPrototype(&type);
  QR_CHECK_MSG(prototype != nullptr, type.full_name());
  return std::unique_ptr<Message>(prototype->New());
}

HttpResponse ErrorResponse(const RpcStatus& status) {
  HttpResponse response;
  response.status = HttpStatusOf(status.code);
  response.headers.emplace_back("Content-Type", kJsonType);
  if (status.code == RpcCode::kUnauthenticated) {
    response.headers.emplace_back("Www-Authenticate", status.message);
  }
  response.body = ErrorJson(status);
  return response;
}

GatewayCall::GatewayCall(const Target& target, transport::HttpRequest request,
                         Gateway::Headers headers, Gateway::ReplyFn reply)
    : target_(target),
      request_(std::move(request)),
      exchange_(request_.exchange),
      headers_(std::move(headers)),
      reply_(std::move(reply)),
      received_ns_(target_.context->clock->MonotonicNs()) {
  QR_CHECK(exchange_ != nullptr);
}

void GatewayCall::Start(std::vector<Bytes> messages) {
  Listen({});
  for (Bytes& message : messages) OnRequest(std::move(message));
  OnRequestsEnd();
}

void GatewayCall::Converse(RequestStream requests) {
  requests_.emplace(std::move(requests));
  transport::HttpExchange::Events events;
  events.body = [call = shared_from_this()](std::string_view piece) { call->OnBody(piece); };
  events.body_end = [call = shared_from_this()] { call->OnRequestsEnd(); };
  Listen(std::move(events));
}

void GatewayCall::Listen(transport::HttpExchange::Events events) {
  using Weak = std::weak_ptr<GatewayCall>;
  whole_ = std::make_shared<transport::WholeMessages>(
      transport::WholeMessages::Events{[weak = Weak(weak_from_this())](Bytes message) {
                                         if (const auto call = weak.lock())
                                           call->Put({std::move(message), std::nullopt});
                                       },
                                       [weak = Weak(weak_from_this())](RpcStatus status) {
                                         if (const auto call = weak.lock())
                                           call->Put({Bytes(), std::move(status)});
                                       }});
  // The exchange keeps the call alive until it is closed, and that always comes.
  events.writable = [call = shared_from_this()] { call->OnWritable(); };
  events.closed = [call = shared_from_this()] { call->OnClosed(); };
  if (target_.deadline_ns != INT64_MAX) {
    events.deadline = [call = shared_from_this()] { call->OnDeadline(); };
    events.deadline_ns = target_.deadline_ns;
  }
  exchange_->Listen(std::move(events));
  if (target_.observer != nullptr) trace_ = target_.observer->Started(*target_.method, *this);
  if (target_.method->bidi != nullptr) handler_ = target_.method->bidi(shared_from_this());
}

void GatewayCall::OnBody(std::string_view piece) {
  if (requests_end_) return;
  std::vector<Bytes> messages;
  const RpcStatus status = requests_->Take(piece, &messages);
  for (Bytes& message : messages) OnRequest(std::move(message));
  if (status.ok() || requests_end_) return;
  // Of a stream the requests before it count; after them its client has ended, as in etcd.
  if (ClientStreams()) return OnRequestsEnd();
  requests_end_ = true;
  Finish(status);
}

void GatewayCall::OnRequest(Bytes message) {
  if (requests_end_) return;
  if (target_.observer != nullptr) {
    target_.observer->MessageReceived(*target_.method, message.size());
  }
  if (target_.method->unary != nullptr) {
    requests_end_ = true;
    return target_.method->unary(shared_from_this(), std::move(message));
  }
  if (handler_ != nullptr) handler_->OnMessage(std::move(message));
  if (!ClientStreams()) OnRequestsEnd();
}

void GatewayCall::OnRequestsEnd() {
  if (std::exchange(requests_end_, true)) return;
  if (handler_ != nullptr) handler_->OnHalfClose();
}

std::optional<std::string> GatewayCall::Metadata(std::string_view name) const {
  std::optional<std::string_view> value = request_.Header(StrCat(kMetadataPrefix, name));
  if (!value.has_value() && (name == "authorization" || name == "token")) {
    value = request_.Header("authorization");
    if (value.has_value() && name == "token") ConsumePrefix(&*value, kBearer);
  }
  if (!value.has_value()) return std::nullopt;
  return std::string(*value);
}

void GatewayCall::Send(transport::Message message) {
  queued_bytes_.fetch_add(message.size(), std::memory_order_relaxed);
  whole_->Push(std::move(message));
}

void GatewayCall::Reply(transport::Message message) {
  Send(std::move(message));
  Finish({});
}

void GatewayCall::OnWritable() {
  if (handler_ == nullptr || Queued() > kWritableLowBytes) return;
  if (tell_writable_.exchange(false)) handler_->OnWritable();
}

void GatewayCall::OnClosed() {
  const bool streams = handler_ != nullptr;
  Leave();
  // Where somebody still waits, the server is stopping.
  if (streams) Finish({RpcCode::kUnavailable, "the server is shutting down"});
}

void GatewayCall::OnDeadline() {
  whole_->Drop();
  Leave();
  Put({Bytes(), DeadlineStatus()});
}

void GatewayCall::Leave() {
  closed_.store(true);
  const std::unique_ptr<transport::CallHandler> handler = std::move(handler_);
  if (handler != nullptr) handler->OnClosed();
}

void GatewayCall::Put(Item item) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = item.end.has_value();
    items_.push_back(std::move(item));
    if (busy_) return;
    busy_ = true;
  }
  target_.context->workers->Submit([self = shared_from_this()] { self->Work(); });
}

void GatewayCall::Work() {
  for (;;) {
    Item item;
    {
      std::lock_guard lock(mutex_);
      busy_ = !items_.empty();
      if (!busy_) return;
      item = std::move(items_.front());
      items_.pop_front();
    }
    if (item.end.has_value()) {
      End(*item.end);
    } else {
      queued_bytes_.fetch_sub(item.message.size(), std::memory_order_relaxed);
      Answer(item.message);
    }
  }
}

std::string GatewayCall::Json(const Bytes& message) const {
  const std::unique_ptr<Message> answer = NewMessage(*target_.answer);
  QR_CHECK(answer->ParseFromArray(message.data(), static_cast<int>(message.size())));
  std::string json;
  AppendJson(*answer, &json);
  return json;
}

void GatewayCall::Answer(const Bytes& message) {
  if (target_.observer != nullptr) target_.observer->MessageSent(*target_.method, message.size());
  if (closed_.load()) return;
  if (streamed()) {
    Write(StrCat("{\"result\":", Json(message), "}\n"), 200);
  } else {
    answer_ = Json(message);
  }
}

void GatewayCall::End(const RpcStatus& status) {
  if (target_.observer != nullptr) {
    const int64_t took_ns = target_.context->clock->MonotonicNs() - received_ns_;
    target_.observer->Handled(*target_.method, {status.code, status.message, took_ns},
                              std::move(trace_));
  }
  if (streamed()) {
    // What ends without a word has no body, and so no type.
    if (!status.ok()) {
      Write(StrCat("{\"error\":", ErrorJson(status), "}", body_open_ ? "\n" : ""),
            HttpStatusOf(status.code));
    } else if (!body_open_) {
      exchange_->StartBody({200, headers_, ""});
    }
    return exchange_->EndBody();
  }
  if (!status.ok()) return reply_(ErrorResponse(status));
  reply_({200,
          {{"Content-Type", kJsonType}, {"Grpc-Metadata-Content-Type", "application/grpc"}},
          std::move(answer_)});
}

void GatewayCall::Write(std::string line, int status) {
  if (body_open_) return exchange_->Write(std::move(line));
  body_open_ = true;
  HttpResponse head{status, headers_, std::move(line)};
  head.headers.emplace_back("Content-Type", kJsonType);
  if (status == 200) head.headers.emplace_back("Grpc-Metadata-Content-Type", "application/grpc");
  exchange_->StartBody(std::move(head));
}

}  // namespace quorate::server
