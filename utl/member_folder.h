// The data directory of a member that is not running, opened by a tool.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"
#include "backends/log/log_store.h"
#include "base/allocator.h"
#include "base/file_env.h"
#include "utl/invocation.h"

namespace quorate::utl {

// Holds the member's lock while it lives. One thread.
class MemberFolder {
 public:
  // --data-dir, --wal-dir and --timeout of a command.
  static std::vector<OptionSpec> Flags();
  // kUnavailable when the member is running (and did not stop within --timeout); kNotFound when
  // there is no member; kFailedPrecondition for a folder of etcd's, or one between two states.
  static absl::StatusOr<std::unique_ptr<MemberFolder>> Open(const Invocation& invocation);

  const std::string& member_dir() const { return member_dir_; }
  const std::string& backend_dir() const { return backend_dir_; }
  const std::string& backend_name() const { return backend_name_; }
  log::LogOptions log_options() const;

  // Neither changes what it opens, but that backends put aside what a crash left unfinished, as at
  // any start. The folder outlives both.
  absl::StatusOr<std::unique_ptr<kv::KvBackend>> OpenBackend();
  absl::StatusOr<std::vector<std::string>> FindBackendDamage();
  absl::StatusOr<std::unique_ptr<log::LogStore>> OpenLog() const;
  Allocator* allocator() { return allocator_.get(); }

 private:
  kv::KvOptions backend_options();

  std::unique_ptr<FileLock> lock_;
  std::unique_ptr<Allocator> allocator_;
  std::string member_dir_, backend_dir_, log_dir_;
  std::string backend_name_;
};

}  // namespace quorate::utl
