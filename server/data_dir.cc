#include "server/data_dir.h"

#include <chrono>
#include <thread>
#include <utility>

#include "backends/kv/folder_swap.h"
#include "base/concerning.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "proto/raftpb.pb.h"
#include "server/bootstrap.h"
#include "server/discovery.h"

namespace quorate::server {
namespace {

constexpr auto kLockRetry = std::chrono::milliseconds(50);
constexpr int kRetriesUntilWarning = 200;  // 10 s, as etcd

absl::StatusOr<std::unique_ptr<FileLock>> WaitForLock(FileEnv* env, const std::string& path) {
  for (int tries = 0;; ++tries) {
    absl::StatusOr<std::unique_ptr<FileLock>> lock = env->Lock(path);
    if (lock.ok() || !absl::IsUnavailable(lock.status())) return lock;
    if (tries == 0)
      LogInfo("data directory is in use by another process; waiting", {{"path", path}});
    if (tries == kRetriesUntilWarning) {
      LogWarn("db file is flocked by another process, or taking too long", {{"path", path}});
    }
    std::this_thread::sleep_for(kLockRetry);
  }
}

log::LogOptions LogOptionsOf(const ServerConfig& config, FileEnv* env) {
  log::LogOptions options;
  options.dir = config.log_dir;
  options.env = env;
  options.segment_bytes = config.log_segment_bytes;
  options.sync = config.log_sync == "none"    ? log::LogSync::kNone
                 : config.log_sync == "dsync" ? log::LogSync::kDsync
                                              : log::LogSync::kFdatasync;
  return options;
}

// The entries of a new cluster: one AddNode per member at term 1, all committed.
absl::Status Bootstrap(const std::vector<etcdserverpb::Member>& members, log::LogStore* log) {
  std::vector<Entry> entries;
  for (const etcdserverpb::Member& member : members) {
    etcdserverpb::Member without_name = member;  // it publishes its name itself
    without_name.clear_name();
    raftpb::ConfChange change;
    change.set_type(raftpb::ConfChangeAddNode);
    change.set_node_id(member.id());
    change.set_context(engine::MemberToJson(without_name));
    Entry entry;
    entry.term = Term(1);
    entry.index = LogIndex(entries.size() + 1);
    entry.type = EntryType::kConfChange;
    entry.data = Bytes::FromString(change.SerializeAsString());
    entries.push_back(std::move(entry));
  }
  const HardState state{Term(1), MemberId(0), LogIndex(entries.size())};
  QR_RETURN_IF_ERROR(log->Append(entries, &state));
  return log->Sync();
}

// A first start that was cut off between making the log and writing its first entries: this is a
// member of a new cluster if the options still say so. One that joined has an empty log as well.
absl::Status FinishBootstrap(const ServerConfig& config, log::LogStore* log) {
  if (config.initial_cluster_state != InitialClusterState::kNew) return absl::OkStatus();
  QR_ASSIGN_OR_RETURN(const InitialCluster cluster, FindInitialCluster(config));
  const absl::StatusOr<std::vector<etcdserverpb::Member>> members =
      ParseInitialCluster(cluster.text, cluster.token);
  if (!members.ok()) return absl::OkStatus();
  for (const etcdserverpb::Member& member : *members) {
    if (MemberId(member.id()) == log->identity().member) return Bootstrap(*members, log);
  }
  return absl::OkStatus();
}

// Snapshots that were being made when the process was killed.
absl::Status RemoveSpools(FileEnv* env, const std::string& member_dir) {
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, env->List(member_dir));
  for (const std::string& name : names) {
    if (!name.starts_with(kSnapshotSpoolPrefix)) continue;
    QR_RETURN_IF_ERROR(env->Remove(StrCat(member_dir, "/", name)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DataDir> OpenDataDir(const ServerConfig& config, FileEnv* env,
                                    Allocator* allocator) {
  DataDir data;
  const std::string member_dir = config.data_dir + "/member";
  const std::string unfinished = StrCat(config.data_dir, "/", kUnfinishedRestore);
  if (env->Exists(unfinished)) {
    return absl::FailedPreconditionError(
        StrCat(unfinished, ": a restore of a snapshot was cut off here; remove --data-dir ",
               config.data_dir, " and restore again"));
  }
  QR_RETURN_IF_ERROR(Concerning(StrCat("--data-dir ", config.data_dir), env->MakeDirs(member_dir)));
  if (env->Exists(member_dir + "/snap/db") || env->Exists(member_dir + "/wal")) {
    return absl::FailedPreconditionError(
        StrCat("--data-dir ", config.data_dir,
               " was made by etcd, whose files are not read as they are: make a directory of its "
               "snapshot with `quorateutl snapshot restore`"));
  }
  QR_ASSIGN_OR_RETURN(data.lock, WaitForLock(env, member_dir + "/LOCK"));
  QR_RETURN_IF_ERROR(RemoveSpools(env, member_dir));

  const log::LogOptions log_options = LogOptionsOf(config, env);
  absl::StatusOr<std::unique_ptr<log::LogStore>> log = log::OpenSegmentedLog(log_options);
  if (absl::IsNotFound(log.status())) {
    QR_ASSIGN_OR_RETURN(FirstStart start, DecideFirstStart(config));
    const bool own = config.log_dir.starts_with(config.data_dir);
    QR_RETURN_IF_ERROR(Concerning(own ? "--data-dir" : "--wal-dir", env->MakeDirs(config.log_dir)));
    log = log::CreateSegmentedLog(log_options, start.identity);
    if (log.ok() && !start.bootstrap.empty()) {
      QR_RETURN_IF_ERROR(Bootstrap(start.bootstrap, log->get()));
    }
    data.fresh = true;
    data.known = std::move(start.known);
  }
  if (!log.ok()) return log.status();
  data.log = *std::move(log);
  data.identity = data.log->identity();
  if (!data.fresh && data.log->last_index() == LogIndex(0)) {
    QR_RETURN_IF_ERROR(FinishBootstrap(config, data.log.get()));
  }

  QR_RETURN_IF_ERROR(FinishInstall(env, config.backend_dir, data.log.get()));
  QR_ASSIGN_OR_RETURN(data.backend, OpenBackend(config, config.backend_dir, env, allocator));
  return data;
}

absl::StatusOr<std::unique_ptr<RevocableBackend>> OpenBackend(const ServerConfig& config,
                                                              const std::string& dir, FileEnv* env,
                                                              Allocator* allocator) {
  kv::KvOptions options;
  options.dir = dir;
  options.env = env;
  options.allocator = allocator;
  QR_ASSIGN_OR_RETURN(std::unique_ptr<kv::KvBackend> real,
                      kv::OpenKvBackend(config.backend, options));
  return std::make_unique<RevocableBackend>(std::move(real));
}

absl::Status FinishInstall(FileEnv* env, const std::string& backend_dir, log::LogStore* log) {
  QR_ASSIGN_OR_RETURN(const std::optional<kv::Installation> installed,
                      kv::FinishSwap(env, backend_dir));
  if (!installed.has_value()) return absl::OkStatus();
  // Again only if it had not come to that: a log that was begun behind it may hold more by now.
  const bool fits = log->first_index() == installed->index.Next() &&
                    log->TermAt(installed->index) == installed->term;
  if (!fits) QR_RETURN_IF_ERROR(log->Reset(installed->index, installed->term, nullptr));
  LogInfo("the backend's content is a state that a leader sent",
          {{"dir", backend_dir},
           {"index", installed->index.value()},
           {"term", installed->term.value()}});
  return kv::EndInstall(env, backend_dir);
}

absl::StatusOr<std::vector<Entry>> EntriesAfter(const log::LogStore& log, LogIndex applied) {
  std::vector<Entry> entries;
  if (applied > log.last_index()) {
    return absl::DataLossError(
        StrCat("the backend has applied log entry ", applied.value(), " but the log ends at ",
               log.last_index().value(),
               ": the log was replaced or cut; restore the data directory as a whole"));
  }
  if (applied == log.last_index()) return entries;
  if (applied.Next() < log.first_index()) {
    return absl::DataLossError(
        StrCat("the backend has applied log entries up to ", applied.value(),
               " but the log begins at ", log.first_index().value(),
               ": the backend is older than the log; restore the data directory as a whole"));
  }
  QR_RETURN_IF_ERROR(log.Read(applied.Next(), log.last_index(), [&](const Entry& entry) {
    entries.push_back(entry);
    return true;
  }));
  return entries;
}

}  // namespace quorate::server
