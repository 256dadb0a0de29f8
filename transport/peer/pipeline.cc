#include "transport/peer/pipeline.h"

#include <utility>

#include "transport/output_buffer.h"

namespace quorate::transport {
namespace {

constexpr size_t kBodyBytesKept = 4096;

}  // namespace

// One connection, used for one message after another.
class Pipeline::Lane final : public DialConnection::User {
 public:
  explicit Lane(Peer* peer) : peer_(peer) {}

  bool busy() const { return busy_; }

  void Post(const PeerMessage& message) {
    const LinkContext& context = peer_->context();
    if (url_ != peer_->url()) Stop();  // the kept connection leads to where the peer was
    if (connection_ == nullptr) {
      url_ = peer_->url();
      connection_ = DialConnection::Open(&context.dial, url_, context.options->io_timeout_ns, this);
    }
    connection_->set_expecting(DialConnection::Expecting::kBytes);
    busy_ = true;
    body_.clear();
    OutputBuffer encoded;
    EncodeMessage(message, &encoded);
    bytes_ = encoded.size();
    connection_->Write(PeerRequestHead(
        "POST", "/raft", url_, IdentityHeaders(context.identity, std::nullopt),
        "Content-Type: application/protobuf\r\nContent-Length: " + std::to_string(bytes_) +
            "\r\n"));
    connection_->Write(&encoded);
  }

  void Stop() {
    busy_ = false;
    if (connection_ != nullptr) connection_->Close();
    connection_.reset();
  }

  void OnHead(int status, const HttpRequest&) override { status_ = status; }
  void OnBody(std::string_view piece) override {
    if (body_.size() < kBodyBytesKept) body_.append(piece);
  }
  void OnAnswer(Reuse reuse) override {
    if (!busy_) return Stop();  // an answer to nothing
    busy_ = false;
    if (reuse == Reuse::kMayFollow) {
      connection_->set_expecting(DialConnection::Expecting::kNothing);
    } else {
      Stop();
    }
    if (peer_->OnPostAnswer("pipeline", status_, body_)) {
      peer_->CountSent(bytes_);
      peer_->Activate();
    } else {
      Stop();
      peer_->UrlFailed(url_);
      peer_->CountDropped(1);
      peer_->ReportUnreachable();
    }
    peer_->OnQueued();
  }
  void OnLost(const std::string& reason) override {
    const bool was_busy = busy_;
    Stop();
    if (!was_busy) return;
    peer_->UrlFailed(url_);
    peer_->Deactivate("pipeline", reason);
    peer_->CountDropped(1);
    // What waits would only meet the same fate later, when raft has long said something newer.
    peer_->DropQueue();
  }

 private:
  Peer* const peer_;
  PeerUrl url_;
  std::shared_ptr<DialConnection> connection_;
  bool busy_ = false;
  size_t bytes_ = 0;
  int status_ = 0;
  std::string body_;
};

Pipeline::Pipeline(Peer* peer) : peer_(peer) {
  for (size_t i = 0; i < kLanes; ++i) lanes_.push_back(std::make_unique<Lane>(peer));
}

Pipeline::~Pipeline() = default;

void Pipeline::Stop() {
  for (const auto& lane : lanes_) lane->Stop();
}

void Pipeline::Pump(PeerQueue::Take take) {
  PeerQueue* const queue = peer_->queue();
  for (const auto& lane : lanes_) {
    if (queue->Empty(take)) return;
    if (!lane->busy()) lane->Post(queue->Pop(take));
  }
  size_t dropped = 0;
  while (queue->size() > kWaitingMax && !queue->Empty(take)) {
    queue->Pop(take);
    ++dropped;
  }
  if (dropped == 0) return;
  peer_->CountDropped(dropped);
  peer_->ReportUnreachable();
}

}  // namespace quorate::transport
