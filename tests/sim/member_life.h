// MemberLife: one life of one member, from start to crash: the production objects of a server,
// built as server/assemble.cc builds them, without threads and sockets.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/file_env.h"
#include "consensus/raft.h"
#include "engine/engine.h"
#include "server/backend_writer.h"
#include "server/config.h"
#include "server/data_dir.h"
#include "server/log_writer.h"
#include "server/member_state.h"
#include "server/peer_side.h"
#include "server/replica.h"
#include "server/replica_loop.h"
#include "server/services/context.h"
#include "server/services/watch_streams.h"
#include "server/worker_pool.h"
#include "transport/rpc.h"

namespace quorate::sim {

class MemberLife {
 public:
  struct Inputs {
    const server::ServerConfig* config = nullptr;
    const consensus::Config* raft = nullptr;  // its limits
    FileEnv* files = nullptr;
    const Clock* clock = nullptr;
    uint64_t seed = 0;
    uint64_t number = 1;  // of this life
    server::PeerSide* peers = nullptr;
    server::HttpCaller* http = nullptr;
    std::function<void(const Entry&)> applied;
    std::function<void(const absl::Status&)> disk_failed;
    std::function<void(LogIndex)> synced;  // entries up to there, and no promise was sent before
  };
  static absl::StatusOr<std::unique_ptr<MemberLife>> Open(const Inputs& inputs);

  ~MemberLife();

  // Polled by the simulation, in its order.
  server::ReplicaLoop& loop() { return *loop_; }
  server::LogWriter& log_writer() { return *log_writer_; }
  server::BackendWriter& backend_writer() { return *backend_writer_; }
  server::WorkerPool& workers() { return *workers_; }

  const transport::Method* Find(std::string_view path) const { return services_.Find(path); }
  // What other members may ask beside raft.
  const transport::HttpHandler& peer_http() const { return peer_http_; }
  const consensus::Raft& raft() const { return *raft_; }
  engine::Engine& engine() { return replica_->engine(); }
  server::Replica& replica() { return *replica_; }
  const log::LogStore& log() const { return *data_.log; }
  server::MemberState& state() { return *state_; }
  MemberId id() const { return data_.identity.member; }

 private:
  explicit MemberLife(const Inputs& inputs) : inputs_(inputs), random_(inputs.seed) {}
  absl::Status Build();
  absl::Status BuildRaft();
  void BuildReplica();
  void BuildLoops();
  void CutLog(LogIndex through);
  void BuildServices();

  bool ending_ = false;  // whatever is still reported finds nobody
  // In order of construction; destruction goes the other way round.
  const Inputs inputs_;
  Random random_;
  std::unique_ptr<Allocator> allocator_;
  server::DataDir data_;
  std::unique_ptr<server::MemberState> state_;
  std::unique_ptr<consensus::Raft> raft_;
  server::WatchStreams streams_;
  std::unique_ptr<engine::WatchHub> hub_;
  std::unique_ptr<server::Replica> replica_;
  std::unique_ptr<server::LogWriter> log_writer_;
  std::unique_ptr<server::BackendWriter> backend_writer_;
  std::unique_ptr<server::WorkerPool> workers_;
  std::unique_ptr<server::ReplicaLoop> loop_;
  std::unique_ptr<server::IdGenerator> ids_;
  server::LeaderStreams leader_streams_;
  server::PeerCounters peer_counters_;
  server::ServiceContext context_;
  transport::ServiceTable services_;
  transport::HttpHandler peer_http_;
};

}  // namespace quorate::sim
