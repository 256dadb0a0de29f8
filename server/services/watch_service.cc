// etcdserverpb.Watch: hands requests to the hub on the replica thread.

#include <deque>
#include <utility>

#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
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

class WatchCall final : public transport::CallHandler {
 public:
  WatchCall(ServiceContext* context, WatchStreams* streams, CallPtr call)
      : context_(context), streams_(streams), call_(call), state_(std::make_shared<State>()) {
    context_->loop->Run([streams, state = state_, call = std::move(call)](Replica& replica) {
      state->stream = streams->Add(call);
      replica.hub().OpenStream(state->stream);
    });
  }

  void OnMessage(Bytes bytes) override {
    etcdserverpb::WatchRequest request;
    if (!ParseOrFail(*call_, bytes, &request)) return;
    context_->loop->Run([streams = streams_, call = call_, state = state_, bytes = bytes.size(),
                         request = std::move(request)](Replica& replica) mutable {
      state->held_bytes += bytes + sizeof(request);
      state->held.push_back({std::move(request), bytes + sizeof(request)});
      TakeHeld(*streams, *state, replica);
      if (state->held_bytes > kHeldBytesMax) {
        Fail(*call, {kResourceExhausted, "etcdserver: watch answers are not read"});
      }
    });
  }
  // A half-closed client still gets its events.
  void OnHalfClose() override {}
  void OnWritable() override {
    context_->loop->Run([streams = streams_, state = state_](Replica& replica) {
      TakeHeld(*streams, *state, replica);
      replica.hub().StreamWritable(state->stream);
    });
  }
  void OnClosed() override {
    context_->leader_streams->Remove(call_.get());
    context_->loop->Run([streams = streams_, state = state_](Replica& replica) {
      replica.hub().CloseStream(state->stream);
      streams->Remove(state->stream);
      state->held.clear();
    });
  }

 private:
  static constexpr int kResourceExhausted = 8;
  static constexpr size_t kHeldBytesMax = 16 << 20;

  struct Held {
    etcdserverpb::WatchRequest request;
    size_t bytes;
  };
  struct State {  // replica thread only
    engine::WatchStreamId stream = 0;
    // Requests that wait because their answers would not fit: each is answered, and a client that
    // does not read its answers must not fill our memory with them.
    std::deque<Held> held;
    size_t held_bytes = 0;
  };

  static void TakeHeld(const WatchStreams& streams, State& state, Replica& replica) {
    while (!state.held.empty() && streams.HasRoom(state.stream)) {
      const Held held = std::move(state.held.front());
      state.held.pop_front();
      state.held_bytes -= held.bytes;
      replica.hub().Request(state.stream, held.request);
    }
  }

  ServiceContext* const context_;
  WatchStreams* const streams_;
  const CallPtr call_;
  const std::shared_ptr<State> state_;
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
