#include "transport/peer/stream_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"

namespace quorate::transport {
namespace {

constexpr int kOk = 200;
constexpr int kGone = 410;
// Of the text of a refusal.
constexpr size_t kRefusalBytesMax = 4096;

}  // namespace

void StreamReader::Dial() {
  const LinkContext& context = peer_->context();
  state_ = State::kDialling;
  url_ = peer_->url();
  connection_ = DialConnection::Open(&context.dial, url_, context.options->io_timeout_ns, this);
  const std::string path =
      "/raft/stream/" + std::string(StreamName(kind_)) + "/" + HexId(context.identity.self.value());
  connection_->Write(
      PeerRequestHead("GET", path, url_, IdentityHeaders(context.identity, peer_->id()), ""));
}

void StreamReader::Stop() {
  peer_->context().loop->CancelTimer(retry_timer_);
  retry_timer_ = 0;
  if (connection_ != nullptr) connection_->Close();
  connection_.reset();
}

void StreamReader::DialLater() {
  const LinkContext& context = peer_->context();
  if (std::exchange(state_, State::kWaiting) == State::kStreaming) peer_->OnStreamRead(-1);
  if (connection_ != nullptr) connection_->Close();
  connection_.reset();
  decoder_.reset();
  backoff_ns_ = std::clamp(backoff_ns_ * 2, context.options->dial_retry_min_ns,
                           context.options->dial_retry_max_ns);
  retry_timer_ = context.loop->RunAt(context.loop->NowNs() + backoff_ns_, [this] {
    retry_timer_ = 0;
    Dial();
  });
}

void StreamReader::RetryNow() {
  backoff_ns_ = 0;
  if (retry_timer_ == 0) return;
  EventLoop* const loop = peer_->context().loop;
  loop->CancelTimer(retry_timer_);
  retry_timer_ = loop->RunAt(loop->NowNs(), [this] {
    retry_timer_ = 0;
    Dial();
  });
}

void StreamReader::OnNewUrls() {
  if (state_ == State::kDialling || state_ == State::kRefused) DialLater();
  RetryNow();
}

void StreamReader::OnHead(int status, const HttpRequest&) {
  if (status != kOk) {
    state_ = State::kRefused;
    refusal_status_ = status;
    refusal_.clear();
    return;
  }
  state_ = State::kStreaming;
  backoff_ns_ = 0;
  decoder_ = std::make_unique<StreamDecoder>(
      kind_, StreamDecoder::Ends{peer_->id(), peer_->context().identity.self},
      peer_->context().options->message_bytes_max);
  peer_->OnStreamRead(+1);
  peer_->Activate();
}

void StreamReader::OnBody(std::string_view piece) {
  if (state_ == State::kRefused) {
    refusal_.append(
        piece.substr(0, kRefusalBytesMax - std::min(kRefusalBytesMax, refusal_.size())));
    return;
  }
  const absl::Status status = decoder_->Feed(piece, &messages_);
  // What was whole before the damage is good.
  peer_->Deliver(std::exchange(messages_, {}), piece.size());
  if (!status.ok()) {
    peer_->CountReceiveFailure();
    Fail(std::string(status.message()));
  }
}

void StreamReader::OnAnswer(Reuse) {
  if (state_ == State::kRefused) return OnRefusal();
  Fail("the peer ended the stream");
}

void StreamReader::OnRefusal() {
  const std::string text = std::string(absl::StripTrailingAsciiWhitespace(refusal_));
  if (refusal_status_ == kGone) {
    peer_->context().events->OnRemoved(peer_->id());
  }
  peer_->UrlFailed(url_);
  Fail("refused with status " + std::to_string(refusal_status_) + ": " + text);
}

void StreamReader::OnLost(const std::string& reason) {
  if (state_ == State::kRefused) return OnRefusal();
  if (state_ == State::kDialling) peer_->UrlFailed(url_);
  Fail(reason);
}

void StreamReader::Fail(std::string_view reason) {
  peer_->Deactivate("stream " + std::string(StreamName(kind_)), reason);
  DialLater();
}

}  // namespace quorate::transport
