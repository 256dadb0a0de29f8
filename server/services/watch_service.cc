// etcdserverpb.Watch: hands requests to the hub on the replica thread.

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
    context_->loop->Run([state = state_, request = std::move(request)](Replica& replica) {
      replica.hub().Request(state->stream, request);
    });
  }
  // A half-closed client still gets its events.
  void OnHalfClose() override {}
  void OnWritable() override {
    context_->loop->Run(
        [state = state_](Replica& replica) { replica.hub().StreamWritable(state->stream); });
  }
  void OnClosed() override {
    context_->loop->Run([streams = streams_, state = state_](Replica& replica) {
      replica.hub().CloseStream(state->stream);
      streams->Remove(state->stream);
    });
  }

 private:
  struct State {  // replica thread only
    engine::WatchStreamId stream = 0;
  };

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
    return std::make_unique<WatchCall>(context, streams, std::move(call));
  };
  table->Add(std::move(watch));
}

}  // namespace quorate::server
