// KvBackend: where applied state is kept as a checkpoint of the log. Ordered tables, atomic write
// batches in log order, reads by any thread. A backend never syncs on the write path: after a crash
// it may come back at any earlier batch boundary (never between two, never out of order) and the
// log is replayed over it. The applied log index travels inside each batch (table kMeta), so data
// and index cannot part.
//
// Errors: kDataLoss for damaged files (text names file and place), kResourceExhausted for a full
// disk, kFailedPrecondition for a directory of another backend or a newer format (text names the
// way out), kInternal otherwise. A failed Write or Sync is final: the caller stops the process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/allocator.h"
#include "base/file_env.h"

namespace quorate::kv {

// etcd's buckets; the byte order of their names is the order of Maintenance.Hash.
enum class Table : uint8_t {
  kAlarm,
  kAuth,
  kAuthRoles,
  kAuthUsers,
  kCluster,
  kKey,
  kLease,
  kMembers,
  kMembersRemoved,
  kMeta
};
inline constexpr size_t kTableCount = 10;
std::string_view TableName(Table table);  // "alarm", "auth", "authRoles", ... as etcd's buckets

// A list of changes, applied all or none. Holds views: the bytes must live until Write returns.
struct WriteOp {
  enum class Kind : uint8_t { kPut, kDelete, kDeleteRange };
  Kind kind;
  Table table;
  std::string_view key;           // kDeleteRange: first key
  std::string_view value_or_end;  // kPut: value; kDeleteRange: first key that stays
};
using WriteBatch = std::vector<WriteOp>;

// A consistent state that outlives later writes. Any thread, one at a time. Cheap to take; holding
// one for long keeps space from being reclaimed.
class KvSnapshot {
 public:
  virtual ~KvSnapshot() = default;
  // Visits [begin, end) in key order (empty end = to the end of the table) until the visitor
  // answers false. The views live only during the call.
  virtual absl::Status Scan(
      Table table, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor) const = 0;
};

struct KvSizes {
  uint64_t on_disk = 0;  // as etcd's dbSize: space taken, preallocated but unused space left out
  uint64_t in_use = 0;   // as etcd's dbSizeInUse: what live data needs
};

// What an implementation is, instead of methods that answer "not implemented".
struct KvTraits {
  std::string_view name;        // "memory", "lmdb", "rocksdb"
  std::string_view summary;     // one line for --help and reports
  bool data_in_memory = false;  // the whole content lives in RAM (memory backend)
};

enum class ReclaimProgress { kMore, kDone };

class KvBackend {
 public:
  virtual ~KvBackend() = default;  // does not sync
  virtual const KvTraits& traits() const = 0;

  // One writer thread calls Write, Sync and ReclaimStep.
  // Atomic and ordered; visible to readers when it returns; durable after the next Sync.
  virtual absl::Status Write(std::span<const WriteOp> batch) = 0;
  // Makes all completed writes durable.
  virtual absl::Status Sync() = 0;
  // Gives space back that was freed before the first call (etcd's Defragment), without stopping
  // readers: some of it with each call until kDone, Write and Sync in between. A call works on a
  // few megabytes or waits for background work for some milliseconds. kResourceExhausted: there is
  // no room for it on the disk; it was given up, nothing has changed and the backend goes on.
  virtual absl::StatusOr<ReclaimProgress> ReclaimStep() = 0;

  // Any thread. Visits (index into keys, value or nullopt) for each key of the latest state.
  virtual absl::Status Read(
      Table table, std::span<const std::string_view> keys,
      absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)> visitor)
      const = 0;
  virtual absl::StatusOr<std::unique_ptr<KvSnapshot>> NewSnapshot() const = 0;
  virtual KvSizes Sizes() const = 0;
};

struct KvOptions {
  std::string dir;                 // folder of this backend alone; created if missing
  FileEnv* env = nullptr;          // memory backend; lmdb and rocksdb write by themselves
  Allocator* allocator = nullptr;  // memory backend: records and nodes
  uint64_t map_bytes_max = uint64_t{64} << 30;   // lmdb: upper bound of the map (virtual)
  uint64_t cache_bytes = uint64_t{64} << 20;     // rocksdb: block cache
  uint64_t memtable_bytes = uint64_t{32} << 20;  // rocksdb: write buffer
};

struct KvBackendRow {
  KvTraits traits;
  absl::StatusOr<std::unique_ptr<KvBackend>> (*open)(const KvOptions&);
  std::vector<std::string> (*find_damage)(const KvOptions&);
};

// All steps of a reclaim, for callers that have no writes waiting.
absl::Status ReclaimAll(KvBackend& backend);

// All implementations this binary knows.
std::span<const KvBackendRow> KvBackendRegistry();

// Opens or creates. The folder remembers which backend made it (file BACKEND: name and format
// version); another name or a newer version is kFailedPrecondition. Unknown name: kInvalidArgument
// with the known ones.
absl::StatusOr<std::unique_ptr<KvBackend>> OpenKvBackend(std::string_view name,
                                                         const KvOptions& options);

// Reads all files of a backend that nobody has open, also of one that cannot be opened: what is
// wrong, in the words of kDataLoss, for each damaged file the first place at least. Unknown name:
// kInvalidArgument.
absl::StatusOr<std::vector<std::string>> FindKvDamage(std::string_view name,
                                                      const KvOptions& options);

}  // namespace quorate::kv
