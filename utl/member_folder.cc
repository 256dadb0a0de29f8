#include "utl/member_folder.h"

#include <chrono>
#include <thread>
#include <utility>

#include "backends/kv/marker.h"
#include "base/clock.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::utl {
namespace {

constexpr auto kLockRetry = std::chrono::milliseconds(50);

absl::StatusOr<std::unique_ptr<FileLock>> WaitForLock(const std::string& path, int64_t timeout_ns) {
  const SystemClock clock;
  const int64_t end_ns = clock.MonotonicNs() + timeout_ns;
  while (true) {
    absl::StatusOr<std::unique_ptr<FileLock>> lock = PosixFileEnv()->Lock(path);
    if (lock.ok() || !absl::IsUnavailable(lock.status())) return lock;
    if (timeout_ns != 0 && clock.MonotonicNs() >= end_ns) {
      return absl::UnavailableError(
          StrCat(path, " is held by another process: the member is running; stop it first"));
    }
    std::this_thread::sleep_for(kLockRetry);
  }
}

}  // namespace

std::vector<OptionSpec> MemberFolder::Flags() {
  return {{"data-dir", OptionSpec::Type::kString, "",
           "Data directory of a member that is not running.", "Flags"},
          {"wal-dir", OptionSpec::Type::kString, "",
           "Where its log is, if the server was given --wal-dir.", "Flags"}};
}

absl::StatusOr<std::unique_ptr<MemberFolder>> MemberFolder::Open(const Invocation& invocation) {
  FileEnv* const env = PosixFileEnv();
  const std::string data_dir = invocation.values.GetString("data-dir");
  auto folder = std::make_unique<MemberFolder>();
  folder->member_dir_ = data_dir + "/member";
  folder->backend_dir_ = folder->member_dir_ + "/backend";
  folder->log_dir_ = invocation.values.GetString("wal-dir");
  if (folder->log_dir_.empty()) folder->log_dir_ = folder->member_dir_ + "/log";
  if (env->Exists(folder->member_dir_ + "/snap/db")) {
    return absl::FailedPreconditionError(
        StrCat(data_dir, " was made by etcd: use etcdutl, or restore a snapshot of it"));
  }
  const absl::StatusOr<std::string> backend = kv::BackendOf(env, folder->backend_dir_);
  if (absl::IsNotFound(backend.status())) {
    return absl::NotFoundError(StrCat(data_dir, " is no data directory of Quorate: there is no ",
                                      folder->backend_dir_, "/BACKEND"));
  }
  QR_RETURN_IF_ERROR(backend.status());
  folder->backend_name_ = *backend;
  QR_ASSIGN_OR_RETURN(folder->lock_, WaitForLock(folder->member_dir_ + "/LOCK",
                                                 invocation.values.GetInt("timeout")));
  if (env->Exists(folder->backend_dir_ + ".install")) {
    return absl::FailedPreconditionError(StrCat(
        folder->backend_dir_,
        ".install: a state that a leader sent is being put in place; start the member once"));
  }
  QR_ASSIGN_OR_RETURN(folder->allocator_, CreateAllocator("malloc", {}));
  return folder;
}

log::LogOptions MemberFolder::log_options() const {
  log::LogOptions options;
  options.dir = log_dir_;
  options.env = PosixFileEnv();
  options.read_only = true;
  return options;
}

kv::KvOptions MemberFolder::backend_options() {
  kv::KvOptions options;
  options.dir = backend_dir_;
  options.env = PosixFileEnv();
  options.allocator = allocator_.get();
  return options;
}

absl::StatusOr<std::unique_ptr<kv::KvBackend>> MemberFolder::OpenBackend() {
  return kv::OpenKvBackend(backend_name_, backend_options());
}

absl::StatusOr<std::vector<std::string>> MemberFolder::FindBackendDamage() {
  return kv::FindKvDamage(backend_name_, backend_options());
}

absl::StatusOr<std::unique_ptr<log::LogStore>> MemberFolder::OpenLog() const {
  return log::OpenSegmentedLog(log_options());
}

}  // namespace quorate::utl
