// GatewayCall: one HTTP request as the services see it. The services may speak to it from any
// thread; what they say is made JSON by one worker at a time, in order.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "server/gateway/gateway.h"
#include "server/gateway/request_stream.h"
#include "transport/whole_messages.h"

namespace quorate::server {

class GatewayCall final : public transport::ServerCall,
                          public std::enable_shared_from_this<GatewayCall> {
 public:
  struct Target {
    ServiceContext* context;
    const transport::Method* method;
    const google::protobuf::Descriptor* answer;
    transport::RpcObserver* observer;  // may be null
    int64_t deadline_ns;               // monotonic; INT64_MAX = none
  };

  GatewayCall(const Target& target, transport::HttpRequest request, Gateway::Headers headers,
              Gateway::ReplyFn reply);

  // Loop thread, once: makes the call. More messages than one only where the client may send many.
  void Start(std::vector<Bytes> messages);
  // The same for a request whose body follows.
  void Converse(RequestStream requests);

  std::optional<std::string> Metadata(std::string_view name) const override;
  std::string peer() const override { return exchange_->peer(); }
  // Kept by the gateway itself: a service that kept it as well would answer in other words.
  int64_t deadline_ns() const override { return INT64_MAX; }
  int64_t received_ns() const override { return received_ns_; }
  bool cancelled() const override { return closed_.load(std::memory_order_relaxed); }
  void Send(transport::Message message) override;
  void Finish(transport::RpcStatus status) override { whole_->End(std::move(status)); }
  void Reply(transport::Message message) override;
  // Whoever looks may wait for room from then on. Marked before looking: the queue may fall, and
  // what is becoming JSON is in neither part of it.
  size_t QueuedBytes() const override {
    tell_writable_.store(true);
    return Queued();
  }

 private:
  struct Item {
    Bytes message;
    std::optional<transport::RpcStatus> end;
  };

  // --- loop thread
  void Listen(transport::HttpExchange::Events events);
  void OnBody(std::string_view piece);
  void OnRequest(Bytes message);
  void OnRequestsEnd();
  void OnWritable();
  void OnClosed();
  void OnDeadline();
  // The service hears that nobody waits any more.
  void Leave();

  void Put(Item item);
  // --- one worker at a time
  void Work();
  void Answer(const Bytes& message);
  void End(const transport::RpcStatus& status);
  void Write(std::string line, int status);
  size_t Queued() const {
    return queued_bytes_.load(std::memory_order_relaxed) + exchange_->QueuedBytes();
  }
  bool ClientStreams() const { return target_.method->kind == transport::Method::Kind::kBidi; }
  bool streamed() const { return target_.method->kind != transport::Method::Kind::kUnary; }
  std::string Json(const Bytes& message) const;

  const Target target_;
  const transport::HttpRequest request_;  // without its body
  const std::shared_ptr<transport::HttpExchange> exchange_;
  const Gateway::Headers headers_;
  const Gateway::ReplyFn reply_;
  const int64_t received_ns_;
  std::shared_ptr<transport::WholeMessages> whole_;
  std::unique_ptr<transport::RpcTrace> trace_;       // the observer's, from the start to the end
  std::unique_ptr<transport::CallHandler> handler_;  // loop thread, as are ...
  std::optional<RequestStream> requests_;            // of a body that follows
  bool requests_end_ = false;                        // no more of them count
  std::atomic<bool> closed_{false};
  std::atomic<size_t> queued_bytes_{0};             // not yet JSON
  mutable std::atomic<bool> tell_writable_{false};  // the service has looked at the queue since

  std::mutex mutex_;
  std::deque<Item> items_;
  bool busy_ = false;
  bool ended_ = false;  // an item said so; what comes later is dropped

  // Of the worker.
  std::string answer_;      // of a unary call
  bool body_open_ = false;  // of a stream
};

std::unique_ptr<google::protobuf::Message> NewMessage(const google::protobuf::Descriptor& type);
// What a client hears whose Grpc-Timeout is over: Go's words.
transport::RpcStatus DeadlineStatus();
// {"code":N,"message":"..."} under the status that goes with it.
transport::HttpResponse ErrorResponse(const transport::RpcStatus& status);

}  // namespace quorate::server
