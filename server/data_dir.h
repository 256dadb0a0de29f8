// The data directory of one member: lock, log, backend. Opening creates what a first start needs;
// everything that does not fit together is refused with the way out.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"
#include "backends/log/log_store.h"
#include "base/allocator.h"
#include "base/file_env.h"
#include "proto/etcdserverpb.pb.h"
#include "server/config.h"
#include "server/revocable_backend.h"

namespace quorate::server {

// Files in <data-dir>/member under which snapshots for clients are made begin with this; they are
// of no use to a later process.
inline constexpr char kSnapshotSpoolPrefix[] = "snapshot-spool-";

// What `quorateutl snapshot restore` fills before it becomes <data-dir>/member.
inline constexpr char kUnfinishedRestore[] = "member.restoring";

struct DataDir {
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<log::LogStore> log;
  std::unique_ptr<RevocableBackend> backend;
  log::LogIdentity identity;
  bool fresh = false;                       // this start made the member
  std::vector<etcdserverpb::Member> known;  // fresh: whom the first start knows of
};

// Waits for the lock of another process, saying so in the log. A first start decides who the member
// is (bootstrap.h) and begins the log of a new cluster with one configuration entry per member, as
// etcd's does.
absl::StatusOr<DataDir> OpenDataDir(const ServerConfig& config, FileEnv* env, Allocator* allocator);

// Completes the installation of a state that a leader sent (kv/folder_swap.h): moves the backend's
// folders and begins the log anew behind it. Does nothing when there is none. The backend is
// closed.
absl::Status FinishInstall(FileEnv* env, const std::string& backend_dir, log::LogStore* log);

// The configured kind of backend in `dir`.
absl::StatusOr<std::unique_ptr<RevocableBackend>> OpenBackend(const ServerConfig& config,
                                                              const std::string& dir, FileEnv* env,
                                                              Allocator* allocator);

// Entries after `applied`, for replay. kDataLoss when log and backend do not meet.
absl::StatusOr<std::vector<Entry>> EntriesAfter(const log::LogStore& log, LogIndex applied);

}  // namespace quorate::server
