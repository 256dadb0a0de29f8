// SnapshotSender: one POST /raft/snapshot: the message, then the state, read on the snapshot thread
// a little ahead of what the socket takes. Network thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/peer/dial_connection.h"
#include "transport/peer/peer.h"

namespace quorate::transport {

class SnapshotSender final : public DialConnection::User {
 public:
  using Done = std::function<void(absl::Status)>;
  explicit SnapshotSender(Peer* peer) : peer_(peer) {}

  bool busy() const { return done_ != nullptr; }
  // CHECKs that none is under way.
  void Send(const PeerMessage& message, std::unique_ptr<SnapshotSource> source, Done done);
  void Stop();

  void OnHead(int status, const HttpRequest& head) override;
  void OnBody(std::string_view piece) override;
  void OnAnswer(Reuse reuse) override;
  void OnLost(const std::string& reason) override;
  void OnDrained() override { ReadOn(); }

 private:
  void ReadOn();
  void OnPiece(absl::StatusOr<Bytes> piece);
  void Finish(const absl::Status& status);

  Peer* const peer_;
  Done done_;
  PeerUrl url_;  // being used
  std::shared_ptr<DialConnection> connection_;
  // Used on the snapshot thread; destroyed there.
  std::shared_ptr<SnapshotSource> source_;
  bool reading_ = false;
  bool read_all_ = false;
  size_t bytes_ = 0;
  int status_ = 0;
  std::string answer_;
  // What late reads find this transfer by.
  std::shared_ptr<SnapshotSender*> self_;
};

}  // namespace quorate::transport
