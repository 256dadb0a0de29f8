#include "tests/sim/caller.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace quorate::sim {
namespace {

// The rest of a call's way, kept by all events that belong to it.
struct PendingCall {
  Kernel* kernel;
  Network* network;
  Place client;
  Member* member;
  std::string path;
  std::string request;
  std::function<void(CallResult)> done;
  std::string body;
  int64_t ordered_ns = 0;

  void Finish(CallResult result) {
    if (done) std::exchange(done, nullptr)(std::move(result));
  }
};
using PendingPtr = std::shared_ptr<PendingCall>;

void Arrive(const PendingPtr& call) {
  Member& member = *call->member;
  if (!member.running()) return call->Finish({.kind = CallResult::Kind::kNotSent});
  if (member.paused()) {
    call->kernel->After(member.DrawReadDelayNs(), [call] { Arrive(call); });
    return;
  }
  SimCall::Events events;
  events.message = [call](std::string body) { call->body = std::move(body); };
  events.finished = [call](transport::RpcStatus status) {
    call->network->SendOrdered(
        call->member->place(), call->client, &call->ordered_ns,
        [call, status = std::move(status)] {
          call->Finish({CallResult::Kind::kAnswered, status, std::move(call->body)});
        },
        [call] { call->Finish({}); });
  };
  auto sim_call = std::make_shared<SimCall>(&member.clock(), std::move(events));
  if (!member.Unary(call->path, std::move(sim_call), Bytes::FromString(call->request))) {
    call->Finish({CallResult::Kind::kAnswered, {transport::RpcCode::kUnimplemented, ""}, ""});
  }
}

class Stream final : public ClientStream, public std::enable_shared_from_this<Stream> {
 public:
  Stream(Kernel* kernel, Network* network, uint64_t weight, Place client, Member* member,
         std::string_view path, Caller::StreamEvents events)
      : kernel_(kernel),
        network_(network),
        weight_(weight),
        client_(client),
        member_(member),
        path_(path),
        events_(std::move(events)) {}

  void Open() {
    ToServer([](Stream& self) { self.Arrive(); });
  }
  void Send(std::string message) override {
    ToServer([message = std::move(message)](Stream& self) {
      self.handler_->OnMessage(Bytes::Copy(message));
      self.member_->Wake();
    });
  }
  void Close() override {
    if (!std::exchange(open_, false)) return;
    EndAtServer();
  }
  bool open() const override { return open_; }

 private:
  // The life that the stream was opened with is over.
  bool ServerGone() const { return !member_->running() || member_->epoch() != epoch_; }

  void ToServer(std::function<void(Stream&)> what) {
    network_->SendOrdered(
        client_, member_->place(), &to_server_ns_,
        [self = shared_from_this(), what = std::move(what)]() mutable {
          self->AtServer(std::move(what));
        },
        [self = shared_from_this()] { self->Break(); });
  }
  void AtServer(std::function<void(Stream&)> what) {
    inbox_.push_back(std::move(what));
    if (inbox_.size() == 1) Drain();
  }
  // In order, and not while the process is stopped: what arrives then waits in the socket.
  void Drain() {
    while (open_ && !inbox_.empty()) {
      if (member_->running() && member_->paused()) {
        kernel_->After(member_->DrawReadDelayNs(), [self = shared_from_this()] { self->Drain(); });
        return;
      }
      if (epoch_ != 0 ? ServerGone() : !member_->running()) return Break();
      const std::function<void(Stream&)> what = std::move(inbox_.front());
      inbox_.pop_front();
      what(*this);
    }
  }
  void Arrive() {
    epoch_ = member_->epoch();
    SimCall::Events events;
    const std::weak_ptr<Stream> weak = weak_from_this();
    events.message = [weak](std::string body) {
      if (const auto self = weak.lock()) self->ToClient(std::move(body));
    };
    events.finished = [weak](transport::RpcStatus) {
      if (const auto self = weak.lock()) self->Break();
    };
    call_ = std::make_shared<SimCall>(&member_->clock(), std::move(events));
    call_->SetWeight(weight_);
    handler_ = member_->OpenStream(path_, call_);
  }
  void ToClient(std::string body) {
    const size_t bytes = body.size();
    network_->SendOrdered(
        member_->place(), client_, &to_client_ns_,
        [self = shared_from_this(), bytes, body = std::move(body)]() mutable {
          if (!self->open_) return;
          self->call_->Taken(bytes);
          if (self->ServerGone()) return self->Break();
          self->handler_->OnWritable();
          self->member_->Wake();
          self->events_.message(std::move(body));
        },
        [self = shared_from_this()] { self->Break(); });
  }
  void Break() {
    if (!std::exchange(open_, false)) return;
    // Not from inside of what called.
    kernel_->After(0, [self = shared_from_this()] {
      self->EndAtServer();
      self->events_.closed();
    });
  }
  void EndAtServer() {
    if (handler_ == nullptr) return;
    call_->Cancel();
    kernel_->After(0, [self = shared_from_this()] {
      if (self->handler_ == nullptr) return;
      if (!self->ServerGone()) {
        self->handler_->OnClosed();
        self->member_->Wake();
      }
      self->handler_.reset();
      self->call_.reset();
    });
  }

  Kernel* const kernel_;
  Network* const network_;
  const uint64_t weight_;
  const Place client_;
  Member* const member_;
  const std::string path_;
  const Caller::StreamEvents events_;
  bool open_ = true;
  uint64_t epoch_ = 0;                              // of the member, once it has the stream
  std::deque<std::function<void(Stream&)>> inbox_;  // arrived, not yet read
  int64_t to_server_ns_ = 0;
  int64_t to_client_ns_ = 0;
  std::shared_ptr<SimCall> call_;
  std::unique_ptr<transport::CallHandler> handler_;
};

}  // namespace

void Caller::Call(Place client, Member* member, std::string_view path, std::string request,
                  int64_t timeout_ns, std::function<void(CallResult)> done) {
  auto call = std::make_shared<PendingCall>();
  call->kernel = kernel_;
  call->network = network_;
  call->client = client;
  call->member = member;
  call->path = path;
  call->request = std::move(request);
  call->done = std::move(done);
  kernel_->After(timeout_ns, [call] { call->Finish({}); });
  int64_t ordered_ns = 0;
  network_->SendOrdered(
      client, member->place(), &ordered_ns, [call] { Arrive(call); }, [call] { call->Finish({}); });
}

std::shared_ptr<ClientStream> Caller::OpenStream(Place client, Member* member,
                                                 std::string_view path, StreamEvents events) {
  auto stream = std::make_shared<Stream>(kernel_, network_, stream_weight_, client, member, path,
                                         std::move(events));
  stream->Open();
  return stream;
}

}  // namespace quorate::sim
