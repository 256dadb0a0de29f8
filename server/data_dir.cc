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

// The entries of a first start: one AddNode per member at term 1, all committed.
absl::Status Bootstrap(const ServerConfig& config, log::LogStore* log) {
  etcdserverpb::Member member;
  member.set_id(config.member.value());
  for (const std::string& url : config.advertise_peer_urls) member.add_peerurls(url);
  raftpb::ConfChange change;
  change.set_type(raftpb::ConfChangeAddNode);
  change.set_node_id(config.member.value());
  change.set_context(engine::MemberToJson(member));
  Entry entry;
  entry.term = Term(1);
  entry.index = LogIndex(1);
  entry.type = EntryType::kConfChange;
  entry.data = Bytes::FromString(change.SerializeAsString());
  const HardState state{Term(1), MemberId(0), LogIndex(1)};
  QR_RETURN_IF_ERROR(log->Append({&entry, 1}, &state));
  return log->Sync();
}

}  // namespace

absl::StatusOr<DataDir> OpenDataDir(const ServerConfig& config, FileEnv* env,
                                    Allocator* allocator) {
  DataDir data;
  const std::string member_dir = config.data_dir + "/member";
  QR_RETURN_IF_ERROR(Concerning(StrCat("--data-dir ", config.data_dir), env->MakeDirs(member_dir)));
  if (env->Exists(member_dir + "/snap/db") || env->Exists(member_dir + "/wal")) {
    return absl::FailedPreconditionError(
        StrCat("--data-dir ", config.data_dir,
               " was made by etcd; this version does not read etcd's "
               "files: give quorate a directory of its own and copy the keys over"));
  }
  QR_ASSIGN_OR_RETURN(data.lock, WaitForLock(env, member_dir + "/LOCK"));

  const log::LogOptions log_options = LogOptionsOf(config, env);
  absl::StatusOr<std::unique_ptr<log::LogStore>> log = log::OpenSegmentedLog(log_options);
  if (absl::IsNotFound(log.status())) {
    QR_RETURN_IF_ERROR(config.identity_status);
    const bool own = config.log_dir.starts_with(config.data_dir);
    QR_RETURN_IF_ERROR(Concerning(own ? "--data-dir" : "--wal-dir", env->MakeDirs(config.log_dir)));
    log = log::CreateSegmentedLog(log_options, {config.member, config.cluster});
    data.fresh = true;
  }
  if (!log.ok()) return log.status();
  data.log = *std::move(log);
  data.identity = data.log->identity();
  if (data.log->last_index().value() == 0) QR_RETURN_IF_ERROR(Bootstrap(config, data.log.get()));

  QR_RETURN_IF_ERROR(FinishInstall(env, config.backend_dir, data.log.get()));
  kv::KvOptions kv_options;
  kv_options.dir = config.backend_dir;
  kv_options.env = env;
  kv_options.allocator = allocator;
  QR_ASSIGN_OR_RETURN(data.backend, kv::OpenKvBackend(config.backend, kv_options));
  return data;
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
