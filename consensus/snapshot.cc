// Peers that need what the log has dropped get a snapshot (Raft §7, thesis §5). Here is only its
// place in the log; the owner carries the bytes, and restarts or resumes that as it can.

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::SnapshotReady(MemberId to, SnapshotMeta meta) {
  Leader* lead = leads();
  if (lead == nullptr) return;
  const auto found = lead->peers.find(to);
  if (found == lead->peers.end()) return;
  Progress& peer = found->second;
  if (peer.state != ReplicationState::kSnapshot || peer.pending_snapshot.value() != 0) return;
  QR_CHECK(meta.index <= log.commit());
  // One from before the peer was a member would tell it that it is none, and one that is behind
  // what the peer has is no help. A later one is asked for when the peer is heard of again.
  if (!meta.conf_state.Contains(to) || meta.index <= peer.match) {
    peer.snapshot_asked = false;
    return;
  }
  peer.pending_snapshot = meta.index;
  peer.next = meta.index.Next();
  Send({.type = MessageType::kSnapshot,
        .to = to,
        .snapshot = std::make_shared<const SnapshotMeta>(std::move(meta))});
}

void RaftCore::ReportSnapshot(MemberId to, SnapshotResult result) {
  Leader* lead = leads();
  if (lead == nullptr) return;
  const auto found = lead->peers.find(to);
  if (found == lead->peers.end()) return;
  Progress& peer = found->second;
  if (peer.state != ReplicationState::kSnapshot) return;
  if (result == SnapshotResult::kFailed) peer.pending_snapshot = LogIndex(0);
  peer.BecomeProbe();
  // It says itself when it has installed it. Until then, or after a failure until it is heard of
  // again, there is nothing to send.
  peer.paused = true;
}

void RaftCore::HandleSnapshot(const Message& message) {
  HearLeader(message);
  if (message.snapshot == nullptr || installing) return;
  const SnapshotMeta& meta = *message.snapshot;
  const auto answer = [&] {
    SendAfterDurable(
        {.type = MessageType::kAppendResponse, .to = message.from, .index = log.commit()});
  };
  if (meta.index <= log.commit()) return answer();
  if (log.TermAt(meta.index) == meta.term) {
    // The log has all that the snapshot stands for.
    log.Commit(meta.index);
    return answer();
  }
  if (!meta.conf_state.Contains(config.self)) return;
  installing = InstallRequest{message.from, meta};
  out_.install = installing;
}

void RaftCore::SnapshotInstalled(const SnapshotMeta& meta) {
  QR_CHECK_MSG(installing && installing->meta == meta, "a snapshot that was not asked for");
  installing.reset();
  log.Restore(meta.index, meta.term);
  conf = meta.conf_state;
  disk_waits_ticks_ = 0;
  compacted_ = std::max(compacted_, meta.index);
  if (leader.value() == 0) return;  // the next one finds out by probing
  Send({.type = MessageType::kAppendResponse, .to = leader, .index = meta.index});
}

void RaftCore::SnapshotAbandoned(const SnapshotMeta& meta) {
  QR_CHECK_MSG(installing && installing->meta == meta, "a snapshot that was not asked for");
  installing.reset();
}

}  // namespace quorate::consensus
