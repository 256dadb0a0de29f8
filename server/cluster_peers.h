// ClusterPeers: a member's side towards the others. Carries the replica's messages over the peer
// links and theirs to the replica, moves snapshots both ways, keeps the links' list of peers equal
// to the engine's members, and hears when this member was removed.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/backend_writer.h"
#include "server/log_writer.h"
#include "server/member_state.h"
#include "server/peer_counters.h"
#include "server/peer_side.h"
#include "server/replica_loop.h"
#include "server/services/leader_streams.h"
#include "transport/peer/peer_links.h"

namespace quorate::server {

class ClusterPeers final : public PeerSide, public transport::PeerEvents {
 public:
  // All outlive this object, or its Stop.
  struct Parts {
    transport::PeerLinks* links = nullptr;
    MemberState* state = nullptr;
    LogWriter* log_writer = nullptr;
    BackendWriter* backend_writer = nullptr;
    ReplicaLoop* loop = nullptr;
    LeaderStreams* leader_streams = nullptr;
    PeerCounters* counters = nullptr;
    const Clock* clock = nullptr;
  };
  struct Options {
    log::LogIdentity identity;
    int64_t election_timeout_ns = 0;
    std::function<void()> removed;  // called once, on any thread: stop for good
  };
  explicit ClusterPeers(const Options& options) : options_(options) {}

  // Before the loop and the links start. `others`: whom a first start knows of, though the engine
  // does not yet.
  void Connect(const Parts& parts, const engine::Engine& engine,
               const std::vector<etcdserverpb::Member>& others);

  // Voters but this one that are connected, the longest connected first. Any thread.
  std::vector<MemberId> ConnectedVoters(const consensus::ConfState& members) const;

  // --- PeerSide
  void Send(std::vector<consensus::Message> messages) override;
  void PrepareSnapshot(MemberId peer) override;
  void Install(consensus::InstallRequest request) override;
  void MembersChanged(Replica& replica) override;
  void Removed() override;
  void Ticked(Replica& replica) override;

  // --- PeerEvents
  void OnMessages(MemberId from, std::vector<transport::PeerMessage> messages) override;
  void OnUnreachable(MemberId peer) override;
  std::unique_ptr<transport::SnapshotSink> OnSnapshot(
      MemberId from, const transport::PeerMessage& header) override;
  void OnRemoved(MemberId by) override;
  void OnRoundTrip(MemberId peer, int64_t took_ns) override;

 private:
  void SendSnapshot(consensus::Message message);
  void DropPrepared(MemberId peer, LogIndex index);
  void ReportSnapshot(MemberId peer, consensus::SnapshotResult result);
  void Installed(Replica& replica, const consensus::SnapshotMeta& meta,
                 MemberState::Installed installed);
  void ReleaseOld(Replica& replica);
  void AddOrUpdate(const etcdserverpb::Member& member);
  void Forget(const etcdserverpb::Member& member);
  void LogVersion(const engine::Engine& engine);
  void LogDiskStall(const Replica& replica);

  const Options options_;
  Parts parts_;
  std::map<uint64_t, etcdserverpb::Member> known_;  // the engine's, as last seen; replica thread
  std::string version_;                             // the cluster's, as last logged; replica thread
  bool disk_stalled_ = false;
  std::atomic<bool> removed_{false};

  std::mutex prepared_mutex_;
  std::map<MemberId, MemberState::Prepared> prepared_;
};

}  // namespace quorate::server
