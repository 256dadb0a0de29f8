// SnapshotReceiver: the body of one POST /raft/snapshot: u64 size (big-endian), the MsgSnap, then
// the state, which goes to a SnapshotSink on the snapshot thread. Network thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "transport/peer/peer.h"

namespace quorate::transport {

class SnapshotReceiver {
 public:
  // `on_progress` is called when more may be taken or the transfer is over.
  SnapshotReceiver(const LinkContext* context, std::function<void()> on_progress);
  ~SnapshotReceiver();  // gives up what is not finished

  void Append(std::string_view piece);
  // The body is whole. `done` is called once, later; not after destruction.
  void Finish(std::function<void(absl::Status)> done);

  // Nothing more is to be appended until on_progress: the disk is behind.
  bool full() const { return waiting_bytes_ >= kWaitingBytesMax; }
  // Not OK: the transfer has failed, what comes still is of no use. kFailedPrecondition: the
  // message is none that begins a snapshot.
  const absl::Status& status() const { return status_; }
  bool have_message() const { return have_message_; }
  const PeerMessage& message() const { return message_; }
  uint64_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kWaitingBytesMax = 4 << 20;
  static constexpr uint64_t kMessageBytesMax = 64 << 20;
  static constexpr size_t kPieceBytes = 256 * 1024;
  struct State;  // shared with work on the snapshot thread

  void TakeMessage(std::string_view* piece);
  void OnMessage();
  void HandOver();
  void OnTaken(size_t size, const absl::Status& status);

  const LinkContext* const context_;
  const std::function<void()> on_progress_;
  std::string head_;  // size and message, until whole
  bool have_message_ = false;
  PeerMessage message_;
  absl::Status status_;
  std::string piece_;
  size_t waiting_bytes_ = 0;
  uint64_t bytes_ = 0;
  std::shared_ptr<State> state_;
  std::shared_ptr<SnapshotReceiver*> self_;
};

}  // namespace quorate::transport
