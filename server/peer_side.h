// PeerSide: what the replica's loop hands over that concerns other members. The server sends over
// peer links and moves snapshots; the simulator has a network of its own.
#pragma once

#include <vector>

#include "base/ids.h"
#include "consensus/raft.h"

namespace quorate::server {

class Replica;

class PeerSide {
 public:
  virtual ~PeerSide() = default;

  // Any thread (the loop's and the log writer's). Never blocks; what cannot be sent is dropped and
  // reported by Replica::ReportUnreachable. A kSnapshot message goes with the state that was
  // prepared for its peer and index.
  virtual void Send(std::vector<consensus::Message> messages) = 0;

  // --- loop thread
  // Get a state of the backend that holds at least what is flushed so far, then
  // Replica::SnapshotReady.
  virtual void PrepareSnapshot(MemberId peer) = 0;
  // Then Replica::SnapshotInstalled or SnapshotAbandoned.
  virtual void Install(consensus::InstallRequest request) = 0;
  // The engine's members (or their URLs) are others than before.
  virtual void MembersChanged(Replica& replica) = 0;
  // After each tick of the replica.
  virtual void Ticked(Replica& /*replica*/) {}
  // This member was removed: stop the server, for good.
  virtual void Removed() = 0;
};

}  // namespace quorate::server
