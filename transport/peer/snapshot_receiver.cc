#include "transport/peer/snapshot_receiver.h"

#include <algorithm>
#include <utility>

namespace quorate::transport {
namespace {

constexpr size_t kSizeBytes = 8;

uint64_t SizeIn(std::string_view head) {
  uint64_t size = 0;
  for (const char c : head.substr(0, kSizeBytes)) size = size << 8 | static_cast<uint8_t>(c);
  return size;
}

}  // namespace

// Snapshot thread only, once handed over.
struct SnapshotReceiver::State {
  std::unique_ptr<SnapshotSink> sink;
  absl::Status status;
};

SnapshotReceiver::SnapshotReceiver(const LinkContext* context, std::function<void()> on_progress)
    : context_(context),
      on_progress_(std::move(on_progress)),
      self_(std::make_shared<SnapshotReceiver*>(this)) {}

SnapshotReceiver::~SnapshotReceiver() {
  if (state_ == nullptr) return;
  context_->snapshot_loop->Post([state = std::move(state_)] { state->sink.reset(); });
}

void SnapshotReceiver::TakeMessage(std::string_view* piece) {
  uint64_t wanted = head_.size() < kSizeBytes ? kSizeBytes : kSizeBytes + SizeIn(head_);
  while (head_.size() < wanted && !piece->empty()) {
    const size_t taken = std::min<uint64_t>(wanted - head_.size(), piece->size());
    head_.append(piece->substr(0, taken));
    piece->remove_prefix(taken);
    if (head_.size() < kSizeBytes) return;
    if (SizeIn(head_) > kMessageBytesMax) {
      status_ = absl::InvalidArgumentError("rafthttp: error limit exceeded");
      return;
    }
    wanted = kSizeBytes + SizeIn(head_);
  }
  if (head_.size() == wanted) OnMessage();
}

void SnapshotReceiver::OnMessage() {
  absl::StatusOr<PeerMessage> message =
      DecodeMessage(Bytes::Copy(head_).Slice(kSizeBytes, head_.size() - kSizeBytes));
  head_ = std::string();
  if (!message.ok()) {
    status_ = message.status();
    return;
  }
  have_message_ = true;
  message_ = *std::move(message);
  if (message_.type != raftpb::MsgSnap || !message_.snapshot.has_value()) {
    status_ = absl::FailedPreconditionError("wrong raft message type");
    return;
  }
  state_ = std::make_shared<State>();
  state_->sink = context_->events->OnSnapshot(message_.from, message_);
  if (state_->sink == nullptr) status_ = absl::UnavailableError("not wanted now");
}

void SnapshotReceiver::Append(std::string_view piece) {
  if (!status_.ok()) return;
  if (!have_message_) TakeMessage(&piece);
  if (!status_.ok() || piece.empty()) return;
  bytes_ += piece.size();
  piece_.append(piece);
  if (piece_.size() >= kPieceBytes) HandOver();
}

void SnapshotReceiver::HandOver() {
  if (piece_.empty()) return;
  const size_t size = piece_.size();
  waiting_bytes_ += size;
  std::weak_ptr<SnapshotReceiver*> self = self_;
  context_->snapshot_loop->Post([self, size, state = state_, mailbox = context_->mailbox,
                                 piece = Bytes::FromString(std::exchange(piece_, {}))] {
    if (state->status.ok()) state->status = state->sink->Append(piece);
    mailbox->RunOnLoop([self, size, status = state->status] {
      if (const auto alive = self.lock()) (*alive)->OnTaken(size, status);
    });
  });
}

void SnapshotReceiver::OnTaken(size_t size, const absl::Status& status) {
  const bool was_full = full();
  waiting_bytes_ -= size;
  status_.Update(status);
  if (was_full || !status_.ok()) on_progress_();
}

void SnapshotReceiver::Finish(std::function<void(absl::Status)> done) {
  // head_ is empty also behind a message that was refused: then the status says so already.
  if (!have_message_)
    status_.Update(absl::UnavailableError(head_.empty() ? "EOF" : "unexpected EOF"));
  if (!status_.ok()) return done(status_);
  HandOver();
  std::weak_ptr<SnapshotReceiver*> self = self_;
  context_->snapshot_loop->Post(
      [self, done = std::move(done), state = state_, mailbox = context_->mailbox] {
        if (state->status.ok()) state->status = state->sink->Finish();
        state->sink.reset();
        mailbox->RunOnLoop([self, done, status = state->status] {
          if (self.lock() != nullptr) done(status);
        });
      });
}

}  // namespace quorate::transport
