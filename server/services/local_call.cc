#include "server/services/local_call.h"

#include <atomic>
#include <utility>

#include "base/check.h"
#include "transport/whole_messages.h"

namespace quorate::server {
namespace {

using transport::RpcStatus;

const transport::Method& MethodOf(const LocalServer& server, std::string_view path) {
  const transport::Method* method = server.table->Find(path);
  QR_CHECK_MSG(method != nullptr, std::string(path));
  return *method;
}

// What the services see of such a call. They let go of it some time after it has ended.
class InnerCall : public transport::ServerCall, public std::enable_shared_from_this<InnerCall> {
 public:
  InnerCall(ServiceContext* context, CallPtr caller)
      : context_(context), caller_(std::move(caller)) {}

  void Connect() {
    whole_ = std::make_shared<transport::WholeMessages>(
        transport::WholeMessages::Events{[weak = weak_from_this()](Bytes message) {
                                           const auto call = weak.lock();
                                           if (call != nullptr) call->OnMessage(std::move(message));
                                         },
                                         [weak = weak_from_this()](RpcStatus status) {
                                           const auto call = weak.lock();
                                           if (call != nullptr) call->OnEnd(std::move(status));
                                         }});
  }

  std::optional<std::string> Metadata(std::string_view name) const override {
    return caller_->Metadata(name);
  }
  std::string peer() const override { return caller_->peer(); }
  std::optional<std::string> PeerCommonName() const override { return caller_->PeerCommonName(); }
  int64_t deadline_ns() const override { return caller_->deadline_ns(); }
  int64_t received_ns() const override { return received_ns_; }
  bool cancelled() const override { return false; }
  void Send(transport::Message message) override { whole_->Push(std::move(message)); }
  void Finish(RpcStatus status) override { whole_->End(std::move(status)); }
  void Reply(transport::Message message) override {
    whole_->Push(std::move(message));
    whole_->End({});
  }
  size_t QueuedBytes() const override { return caller_->QueuedBytes(); }

 protected:
  virtual void OnMessage(Bytes message) = 0;
  virtual void OnEnd(RpcStatus status) = 0;
  void OnReplicaThread(absl::AnyInvocable<void(Replica&)> task) {
    context_->loop->Run(std::move(task));
  }
  transport::WholeMessages& whole() { return *whole_; }

 private:
  ServiceContext* const context_;
  const CallPtr caller_;
  const int64_t received_ns_ = context_->clock->MonotonicNs();
  std::shared_ptr<transport::WholeMessages> whole_;
};

class Question final : public InnerCall {
 public:
  using Done = std::function<void(const RpcStatus&, const Bytes&)>;
  Question(ServiceContext* context, CallPtr caller, Done done)
      : InnerCall(context, std::move(caller)), done_(std::move(done)) {}

 private:
  void OnMessage(Bytes message) override { answer_ = std::move(message); }
  void OnEnd(RpcStatus status) override {
    OnReplicaThread([done = std::move(done_), answer = std::move(answer_),
                     status = std::move(status)](Replica&) { done(status, answer); });
  }

  Done done_;
  Bytes answer_;
};

}  // namespace

void AskLocally(const LocalServer& server, std::string_view path, CallPtr caller, Bytes request,
                std::function<void(const RpcStatus&, const Bytes&)> done) {
  const auto call = std::make_shared<Question>(server.context, std::move(caller), std::move(done));
  call->Connect();
  MethodOf(server, path).unary(call, std::move(request));
}

class LocalStream::Call final : public InnerCall {
 public:
  Call(ServiceContext* context, CallPtr caller, Events events)
      : InnerCall(context, std::move(caller)), events_(std::move(events)) {}

  // Replica thread.
  void Drop() {
    dropped_ = true;
    whole().Drop();
  }

 private:
  std::shared_ptr<Call> self() { return std::static_pointer_cast<Call>(shared_from_this()); }
  void OnMessage(Bytes message) override {
    OnReplicaThread([call = self(), message = std::move(message)](Replica&) {
      if (!call->dropped_) call->events_.message(message);
    });
  }
  void OnEnd(RpcStatus status) override {
    OnReplicaThread([call = self(), status = std::move(status)](Replica&) {
      if (!call->dropped_) call->events_.ended(status);
    });
  }

  const Events events_;
  bool dropped_ = false;  // replica thread
};

LocalStream::LocalStream(const LocalServer& server, std::string_view path, CallPtr caller,
                         Bytes request, Events events)
    : call_(std::make_shared<Call>(server.context, std::move(caller), std::move(events))) {
  call_->Connect();
  handler_ = MethodOf(server, path).bidi(call_);
  handler_->OnMessage(std::move(request));
}

LocalStream::~LocalStream() {
  call_->Drop();
  handler_->OnClosed();
}

}  // namespace quorate::server
