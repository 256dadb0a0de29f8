#include "ctl/watcher.h"

#include "base/text.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::WatchResponse;
using transport::RpcCode;

constexpr int64_t kReopenPauseNs = 200 * kNanosPerMilli;

}  // namespace

Watcher::Watcher(SyncClient* client, etcdserverpb::WatchCreateRequest request)
    : client_(client), request_(std::move(request)) {}

void Watcher::Open() {
  const std::lock_guard lock(stream_mutex_);
  stream_ = client_->Open("/etcdserverpb.Watch/Watch", SyncClient::Leader::kRequired);
  etcdserverpb::WatchRequest request;
  *request.mutable_create_request() = request_;
  stream_->Send(request);
  if (!progress_wanted_) return;
  progress_wanted_ = false;
  request.mutable_progress_request();
  stream_->Send(request);
}

void Watcher::RequestProgress() {
  const std::lock_guard lock(stream_mutex_);
  if (!stream_) {
    progress_wanted_ = true;
    return;
  }
  etcdserverpb::WatchRequest request;
  request.mutable_progress_request();
  stream_->Send(request);
}

Watcher::Stream Watcher::Reopen(Interruption* interruption) {
  const transport::RpcStatus ended = stream_->status();
  const bool again = ended.ok() || ended.code == RpcCode::kUnavailable ||
                     ended.code == RpcCode::kInternal || ended.code == RpcCode::kCanceled;
  if (!again) {
    status_ = ended;
    return Stream::kOver;
  }
  client_->TryNextEndpoint();
  if (!Pause(kReopenPauseNs, interruption)) return Stream::kOver;
  // The token may have gone with the server. Whether this succeeds, the next stream tells.
  client_->SignIn();
  return Stream::kOpen;
}

void Watcher::Remember(const WatchResponse& response) {
  token_renewed_ = false;
  int64_t seen = response.header().revision();
  if (!response.events().empty()) {
    seen = response.events(response.events_size() - 1).kv().mod_revision();
  } else if (response.created() && request_.start_revision() > 0) {
    return;  // what it asked for is still to come
  }
  request_.set_start_revision(seen + 1);
}

bool Watcher::TokenEnded(const WatchResponse& response) {
  const std::string& reason = response.cancel_reason();
  const bool ended = reason.find("invalid auth token") != std::string::npos ||
                     reason.find("revision of auth store is old") != std::string::npos;
  if (!ended || token_renewed_ || client_->Metadata().empty()) return false;
  token_renewed_ = true;
  return client_->SignIn().ok();
}

std::optional<WatchResponse> Watcher::Next(Interruption* interruption) {
  if (over_) return std::nullopt;
  if (!stream_) Open();
  while (true) {
    const auto message = stream_->Receive(INT64_MAX, interruption);
    if (!message) {
      if (interruption != nullptr && interruption->raised()) return std::nullopt;
      over_ = Reopen(interruption) == Stream::kOver;
      if (over_) return std::nullopt;
      Open();
      continue;
    }
    WatchResponse response;
    if (!response.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      over_ = true;
      status_ = {RpcCode::kInternal, "the server sent what is no WatchResponse"};
      return std::nullopt;
    }
    if (response.canceled()) {
      if (TokenEnded(response)) {
        Open();
        continue;
      }
      over_ = true;
      return response;
    }
    Remember(response);
    if (!response.created()) return response;
  }
}

}  // namespace quorate::ctl
