#include "transport/peer/snapshot_sender.h"

#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace quorate::transport {
namespace {

constexpr size_t kAnswerBytesKept = 4096;
// The receiver's disk may be slow; its acknowledgement waits for the last sync.
constexpr int64_t kIdleLimitNs = 120 * kNanosPerSecond;

std::string ChunkHead(size_t size) {
  char text[16];
  const auto result = std::to_chars(text, text + sizeof(text), size, 16);
  return std::string(text, result.ptr) + "\r\n";
}

}  // namespace

void SnapshotSender::Send(const PeerMessage& message, std::unique_ptr<SnapshotSource> source,
                          Done done) {
  QR_CHECK(!busy() && message.type == raftpb::MsgSnap && message.snapshot.has_value());
  const LinkContext& context = peer_->context();
  done_ = std::move(done);
  source_ = std::move(source);
  self_ = std::make_shared<SnapshotSender*>(this);
  read_all_ = false;
  status_ = 0;
  answer_.clear();
  OutputBuffer framed;
  StreamEncoder(StreamKind::kMessage).Encode(message, &framed);
  bytes_ = framed.size();
  url_ = peer_->url();
  connection_ = DialConnection::Open(&context.dial, url_, kIdleLimitNs, this);
  connection_->Write(PeerRequestHead(
      "POST", "/raft/snapshot", url_, IdentityHeaders(context.identity, std::nullopt),
      "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n"));
  connection_->Write(ChunkHead(bytes_));
  connection_->Write(&framed);
  connection_->Write("\r\n");
  ReadOn();
}

void SnapshotSender::ReadOn() {
  if (reading_ || read_all_ || connection_ == nullptr) return;
  if (connection_->unsent_bytes() >= DialConnection::kLowBytes) return;
  reading_ = true;
  std::weak_ptr<SnapshotSender*> self = self_;
  // The source travels with the work, so that it is never destroyed while it is used.
  peer_->context().snapshot_loop->Post(
      [self, source = source_, mailbox = peer_->context().mailbox]() mutable {
        auto piece = std::make_shared<absl::StatusOr<Bytes>>(source->Next());
        source.reset();
        mailbox->RunOnLoop([self, piece] {
          if (const auto alive = self.lock()) (*alive)->OnPiece(*std::move(piece));
        });
      });
}

void SnapshotSender::OnPiece(absl::StatusOr<Bytes> piece) {
  reading_ = false;
  if (!piece.ok()) return Finish(piece.status());
  if (piece->empty()) {
    read_all_ = true;
    return connection_->Write("0\r\n\r\n");
  }
  bytes_ += piece->size();
  connection_->Write(ChunkHead(piece->size()));
  connection_->Write(*piece);
  connection_->Write("\r\n");
  ReadOn();
}

void SnapshotSender::OnHead(int status, const HttpRequest&) { status_ = status; }

void SnapshotSender::OnBody(std::string_view piece) {
  if (answer_.size() < kAnswerBytesKept) answer_.append(piece);
}

void SnapshotSender::OnAnswer(Reuse) {
  if (peer_->OnPostAnswer("snapshot", status_, answer_)) {
    peer_->CountSent(bytes_);
    peer_->Activate();
    return Finish(absl::OkStatus());
  }
  Finish(absl::UnavailableError("the peer answered a snapshot with status " +
                                std::to_string(status_) + ": " + answer_));
}

void SnapshotSender::OnLost(const std::string& reason) {
  peer_->UrlFailed(url_);
  peer_->Deactivate("snapshot", reason);
  Finish(absl::UnavailableError("sending a snapshot: " + reason));
}

void SnapshotSender::Finish(const absl::Status& status) {
  if (!status.ok()) peer_->CountDropped(1);
  if (connection_ != nullptr) connection_->Close();
  connection_.reset();
  self_.reset();
  reading_ = false;
  peer_->context().snapshot_loop->Post([source = std::move(source_)]() mutable { source.reset(); });
  if (Done done = std::exchange(done_, nullptr)) done(status);
}

void SnapshotSender::Stop() {
  if (busy()) Finish(absl::CancelledError("the peer links end"));
}

}  // namespace quorate::transport
