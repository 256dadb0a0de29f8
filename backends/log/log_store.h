// LogStore: the raft log on disk. Appending and waiting for the disk are separate calls, so that
// one sync covers all that arrived while the last one ran. The log is the truth: a write is
// acknowledged only after Sync returned for it.
//
// Errors: a failed Append or Sync is final (the caller stops the process, no retry). kDataLoss at
// open names file and offset; kResourceExhausted is a full disk: nothing of that append may be
// counted as written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_env.h"
#include "base/ids.h"
#include "base/log_entry.h"

namespace quorate::log {

// Written once when a log is created, checked at each open.
struct LogIdentity {
  MemberId member;
  ClusterId cluster;
  bool operator==(const LogIdentity&) const = default;
};

// kNone: experiments only. Power loss then costs any number of entries at the end.
enum class LogSync { kFdatasync, kDsync, kNone };

struct LogOptions {
  std::string dir;
  FileEnv* env = nullptr;
  uint64_t segment_bytes = 64'000'000;
  uint32_t spare_segments_max = 2;  // recycled or preallocated segments kept ready
  LogSync sync = LogSync::kFdatasync;
  bool read_only = false;  // inspectors: open without repairing or creating
};

struct LogStats {
  uint64_t bytes_appended = 0;
  uint64_t syncs = 0;
  uint64_t segments = 0;
};

// Threads: Append, Sync, TruncatePrefix and Reset by the one log-writer thread; Read, TermAt,
// first_index, last_index and stats by any.
class LogStore {
 public:
  virtual ~LogStore() = default;

  // Hands entries and, if given, the hard state to the operating system in one batch. Each entry
  // follows the one before it, or replaces an older one and all after that; none lies before
  // first_index(). The commit of the hard state is not beyond the last entry. Not durable before
  // Sync; a crash may keep any number of whole records of it, from the first on. After a failure
  // nothing more is written, and every later Append and Sync answers that failure.
  virtual absl::Status Append(std::span<const Entry> entries, const HardState* hard_state) = 0;
  // Everything appended before is durable when it returns.
  virtual absl::Status Sync() = 0;
  // Entries up to and including `index` are durable, committed and no longer needed. Only whole
  // segments go, so first_index() may stay below index + 1; their files are used again.
  virtual absl::Status TruncatePrefix(LogIndex index) = 0;
  // A snapshot up to `index`, an entry of `term`, has taken the place of all entries: the log is
  // empty behind it. `hard_state` as in Append; without one, the old one is kept. Its commit
  // becomes `index`, which is not below it, and its term (without a vote) at least `term`. Durable
  // when it returns; after a crash the log is as before or as after. Failures are final.
  virtual absl::Status Reset(LogIndex index, Term term, const HardState* hard_state) = 0;

  // Visits entries [first, last] in order until the visitor answers false. kOutOfRange when first
  // is below first_index() or last is above last_index(), also when that becomes so meanwhile; the
  // visitor may then have seen some. Reads at most 256 KiB (or one larger entry) ahead of it.
  virtual absl::Status Read(LogIndex first, LogIndex last,
                            absl::FunctionRef<bool(const Entry&)> visitor) const = 0;
  // Term of an entry in [first_index-1, last_index]; nullopt outside.
  virtual std::optional<Term> TermAt(LogIndex index) const = 0;
  virtual LogIndex first_index() const = 0;  // last_index()+1 when empty
  virtual LogIndex last_index() const = 0;
  virtual HardState hard_state() const = 0;  // as of open, then as appended
  virtual LogIdentity identity() const = 0;
  virtual LogStats stats() const = 0;
};

// Creates an empty log; kAlreadyExists when there is one.
absl::StatusOr<std::unique_ptr<LogStore>> CreateSegmentedLog(const LogOptions& options,
                                                             const LogIdentity& identity);
// Opens an existing log, repairing a torn tail (logged with file and offset). What it finds is
// durable when it returns: bytes that no earlier sync is known to have covered are written again,
// since after a failed sync the system may hold them in memory and never write them (Rebello et
// al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). kNotFound when the
// folder holds no log; kDataLoss for any other damage, kFailedPrecondition for a newer format or
// files of two members: the text names file, offset and the way out.
absl::StatusOr<std::unique_ptr<LogStore>> OpenSegmentedLog(const LogOptions& options);
// Lives in memory only: tests, the simulator, and the reference of the conformance suite.
std::unique_ptr<LogStore> CreateMemoryLog(const LogIdentity& identity);

}  // namespace quorate::log
