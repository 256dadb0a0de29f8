#include "proxy/lasting_stream.h"

#include <utility>

#include "base/clock.h"

namespace quorate::proxy {

using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr int64_t kReopenPauseNs = 100 * kNanosPerMilli;

// Everything else is the fate of one member or connection.
bool IsRefusal(const RpcStatus& status) {
  switch (status.code) {
    case RpcCode::kUnauthenticated:
    case RpcCode::kPermissionDenied:
    case RpcCode::kInvalidArgument:
    case RpcCode::kFailedPrecondition:
    case RpcCode::kUnimplemented:
      return true;
    default:
      // Said only to those who asked for it.
      return status.message == "etcdserver: no leader";
  }
}

}  // namespace

LastingStream::LastingStream(Upstream* upstream, std::string path, transport::MetadataList metadata,
                             Events events)
    : upstream_(upstream),
      path_(std::move(path)),
      metadata_(std::move(metadata)),
      events_(std::move(events)) {}

LastingStream::~LastingStream() { upstream_->loop()->CancelTimer(timer_); }

void LastingStream::Start() {
  timer_ = 0;
  stream_ = upstream_->Open(path_, metadata_, this);
  events_.opened();
}

void LastingStream::Send(Bytes message) {
  if (stream_ != nullptr) stream_->Send(std::move(message));
}

void LastingStream::OnMessage(Bytes message) { events_.message(std::move(message)); }

void LastingStream::OnClosed(RpcStatus status) {
  stream_.reset();
  if (IsRefusal(status)) return events_.refused(std::move(status));
  transport::EventLoop* const loop = upstream_->loop();
  timer_ = loop->RunAt(loop->NowNs() + kReopenPauseNs, [this] { Start(); });
}

}  // namespace quorate::proxy
