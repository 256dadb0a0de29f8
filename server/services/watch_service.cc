// etcdserverpb.Watch: hands requests to the hub on the replica thread.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/text.h"
#include "engine/auth/auth_store.h"
#include "engine/errors.h"
#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
#include "server/services/gate.h"
#include "server/services/watch_streams.h"

namespace quorate::server {

engine::WatchStreamId WatchStreams::Add(std::shared_ptr<transport::ServerCall> call) {
  calls_.emplace(++next_, std::move(call));
  return next_;
}

void WatchStreams::Remove(engine::WatchStreamId stream) { calls_.erase(stream); }

void WatchStreams::Send(engine::WatchStreamId stream, std::vector<Bytes> pieces) {
  const auto call = calls_.find(stream);
  if (call != calls_.end()) call->second->Send(transport::Message(std::move(pieces)));
}

bool WatchStreams::HasRoom(engine::WatchStreamId stream) const {
  const auto call = calls_.find(stream);
  return call != calls_.end() && call->second->QueuedBytes() < kQueueBytesMax;
}

namespace {

using engine::Engine;
using engine::Error;
using engine::Identity;

class WatchCall final : public transport::CallHandler {
 public:
  WatchCall(ServiceContext* context, WatchStreams* streams, CallPtr call)
      : context_(context),
        service_{context, streams},
        call_(call),
        state_(std::make_shared<State>()) {
    context_->loop->Run([streams, state = state_, call = std::move(call)](Replica& replica) {
      state->stream = streams->Add(call);
      replica.hub().OpenStream(state->stream);
    });
  }

  void OnMessage(Bytes bytes) override {
    etcdserverpb::WatchRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    // A stream's token is that of its opening: looked at once, here.
    if (credentials_ == nullptr) credentials_ = TakeCredentials(*context_, *call_);
    const int64_t give_up_ns =
        context_->clock->MonotonicNs() + context_->config->RequestTimeoutNs();
    context_->loop->Run([service = service_, call = call_, state = state_, bytes = bytes.size(),
                         give_up_ns, credentials = credentials_,
                         request = std::move(request)](Replica& replica) mutable {
      if (state->credentials == nullptr) state->credentials = std::move(credentials);
      state->held_bytes += bytes + sizeof(request);
      state->held.push_back({std::move(request), bytes + sizeof(request), give_up_ns});
      TakeHeld(service, call, state, replica);
      if (state->held_bytes > kHeldBytesMax) {
        Fail(*call, {kResourceExhausted, "etcdserver: watch answers are not read"});
      }
    });
  }
  // A half-closed client still gets its events.
  void OnHalfClose() override {}
  void OnWritable() override {
    context_->loop->Run([service = service_, call = call_, state = state_](Replica& replica) {
      TakeHeld(service, call, state, replica);
      replica.hub().StreamWritable(state->stream);
    });
  }
  void OnClosed() override {
    context_->leader_streams->Remove(call_.get());
    context_->loop->Run([streams = service_.streams, state = state_](Replica& replica) {
      replica.hub().CloseStream(state->stream);
      streams->Remove(state->stream);
      state->held.clear();
    });
  }

 private:
  static constexpr int kInvalidArgument = 3;
  static constexpr int kResourceExhausted = 8;
  static constexpr int kUnauthenticated = 16;
  static constexpr std::string_view kSmallestKey{"\0", 1};
  static constexpr size_t kHeldBytesMax = 16 << 20;

  struct Service {
    ServiceContext* context;
    WatchStreams* streams;
  };
  struct Held {
    etcdserverpb::WatchRequest request;
    size_t bytes;
    int64_t give_up_ns;  // waiting for a token to be known
  };
  struct State {  // replica thread only
    engine::WatchStreamId stream = 0;
    // Requests that wait because their answers would not fit: each is answered, and a client that
    // does not read its answers must not fill our memory with them.
    std::deque<Held> held;
    size_t held_bytes = 0;
    bool waiting = false;  // for the token of the first of them to be known here
    std::shared_ptr<const Credentials> credentials;
  };
  using StatePtr = std::shared_ptr<State>;

  static void TakeHeld(const Service& service, const CallPtr& call, const StatePtr& state,
                       Replica& replica) {
    while (!state->held.empty() && !state->waiting && service.streams->HasRoom(state->stream)) {
      const std::optional<Error> allowed = MayWatch(service, *call, *state, replica);
      if (!allowed) return WaitForToken(service, call, state, replica);
      const Held held = std::move(state->held.front());
      state->held.pop_front();
      state->held_bytes -= held.bytes;
      if (allowed->ok()) {
        replica.hub().Request(state->stream, held.request);
      } else {
        replica.hub().Refuse(state->stream, CancelReason(*allowed));
      }
    }
  }

  static void WaitForToken(const Service& service, const CallPtr& call, const StatePtr& state,
                           Replica& replica) {
    state->waiting = true;
    replica.RunLater([service, call, state](Replica& later) {
      state->waiting = false;
      TakeHeld(service, call, state, later);
    });
  }

  // Of the first request that is held. nullopt: not known before more is applied here.
  static std::optional<Error> MayWatch(const Service& service, const transport::ServerCall& call,
                                       State& state, Replica& replica) {
    const Held& held = state.held.front();
    Engine& engine = replica.engine();
    const etcdserverpb::WatchCreateRequest& create = held.request.create_request();
    // A start below zero is refused anyway, with another reason.
    const bool asked = held.request.has_create_request() && create.start_revision() >= 0;
    if (!asked || !engine.auth().enabled()) return Error();
    const Tokens& tokens = *service.context->tokens;
    if (state.credentials == nullptr) {
      state.credentials = std::make_shared<Credentials>(tokens.Read(call));
    }
    const Tokens::Outcome outcome = tokens.Identify(*state.credentials, engine);
    if (const auto* error = std::get_if<Error>(&outcome)) return *error;
    if (const auto* identity = std::get_if<Identity>(&outcome)) {
      const std::string_view key = create.key().empty() ? kSmallestKey : create.key();
      return engine.auth().CheckRead(*identity, key, create.range_end());
    }
    if (service.context->clock->MonotonicNs() < held.give_up_ns) return std::nullopt;
    return engine::errors::kInvalidAuthToken;
  }

  // The words of a Go client's error, which is what etcd puts here.
  static std::string CancelReason(const Error& error) {
    const Error shown = error.code == kUnauthenticated || error.code == kInvalidArgument
                            ? error
                            : Error(engine::errors::kPermissionDenied);
    const char* const code = shown.code == kUnauthenticated   ? "Unauthenticated"
                             : shown.code == kInvalidArgument ? "InvalidArgument"
                                                              : "PermissionDenied";
    return StrCat("rpc error: code = ", code, " desc = ", shown.message);
  }

  ServiceContext* const context_;
  const Service service_;
  const CallPtr call_;
  const StatePtr state_;
  std::shared_ptr<const Credentials> credentials_;  // connection's thread only
};

}  // namespace

void AddWatchService(ServiceContext* context, WatchStreams* streams,
                     transport::ServiceTable* table) {
  transport::Method watch;
  watch.path = "/etcdserverpb.Watch/Watch";
  watch.kind = transport::Method::Kind::kBidi;
  watch.bidi = [context, streams](CallPtr call) {
    AdmitStream(*context, call);
    return std::make_unique<WatchCall>(context, streams, std::move(call));
  };
  table->Add(std::move(watch));
}

}  // namespace quorate::server
