// MemberState: the applied state of a member, backend and engine, and how it moves between members
// as a whole: prepared and sent to one that is behind the log, received beside the one in use, and
// put in its place (backends/kv/state_stream.h, folder_swap.h).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/folder_swap.h"
#include "backends/kv/state_stream.h"
#include "base/clock.h"
#include "consensus/raft.h"
#include "engine/engine.h"
#include "server/backend_writer.h"
#include "server/config.h"
#include "server/disk_failure.h"
#include "server/revocable_backend.h"
#include "transport/peer/peer_links.h"

namespace quorate::server {

class MemberState {
 public:
  struct Options {
    const ServerConfig* config = nullptr;
    FileEnv* env = nullptr;
    Allocator* allocator = nullptr;
    engine::EngineOptions engine;
    const Clock* clock = nullptr;
    // When a state cannot be put in place; the next start goes on with it.
    DiskFailureHandler failed = StopProcess("failed to take over a snapshot");
  };
  MemberState(const Options& options, std::unique_ptr<RevocableBackend> backend);

  // Rebuilds the engine from the backend; says in the log how far it is.
  absl::Status OpenEngine();
  // Of the start; later the replica's.
  kv::KvBackend* backend() { return backend_.get(); }
  engine::Engine* engine() { return engine_.get(); }

  // --- sending. Any thread.
  struct Prepared {
    consensus::SnapshotMeta meta;
    std::unique_ptr<kv::KvSnapshot> snapshot;
  };
  static absl::StatusOr<Prepared> Prepare(const kv::KvBackend& backend);

  // --- receiving
  // Where the bytes of a state go. Null while another is being received or installed. Any thread.
  std::unique_ptr<transport::SnapshotSink> Receive(const kv::Installation& incoming);
  // Puts the received state in the place of the one in use. Backend writer's thread. `reset_log`
  // makes the log begin behind it and returns when that is durable. Nothing = this state was not
  // received (any more), and nothing changed; or, after Options::failed, that nothing here may be
  // used any more.
  struct Installed {
    std::unique_ptr<RevocableBackend> backend;
    std::unique_ptr<engine::Engine> engine;
  };
  std::optional<Installed> Install(const consensus::SnapshotMeta& meta,
                                   const std::function<absl::Status()>& reset_log);
  // The installed state is the one in use from now on. The old one stays until ReleaseOld finds
  // that nobody holds a part of it any more. Replica thread.
  engine::Engine* TakeOver(Installed installed);
  // True when nothing old is left.
  bool ReleaseOld();

 private:
  class Incoming;
  enum class Stage { kIdle, kReceiving, kReceived, kInstalling };

  absl::StatusOr<std::unique_ptr<engine::Engine>> Rebuild(const kv::KvBackend* backend) const;
  absl::StatusOr<Installed> Swap(const kv::Installation& installation,
                                 const std::function<absl::Status()>& reset_log);
  void EndReceiving(std::optional<kv::Installation> received);

  const Options options_;
  std::unique_ptr<RevocableBackend> backend_;
  std::unique_ptr<engine::Engine> engine_;
  std::vector<Installed> old_;

  std::mutex mutex_;  // guards the two below
  Stage stage_ = Stage::kIdle;
  std::optional<kv::Installation> received_;
};

}  // namespace quorate::server
