#include <array>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "backends/kv/lmdb_backend.h"
#include "backends/kv/marker.h"
#include "backends/kv/memory_backend.h"
#include "backends/kv/rocksdb_backend.h"
#include "backends/kv/write_check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::array<std::string_view, kTableCount> kTableNames = {
    "alarm", "auth",  "authRoles", "authUsers",       "cluster",
    "key",   "lease", "members",   "members_removed", "meta"};

absl::StatusOr<const KvBackendRow*> RowOf(std::string_view name) {
  std::vector<std::string_view> known;
  for (const KvBackendRow& row : KvBackendRegistry()) {
    if (row.traits.name == name) return &row;
    known.push_back(row.traits.name);
  }
  return absl::InvalidArgumentError(
      StrCat("unknown backend '", name, "'; known: ", StrJoin(known, ", ")));
}

}  // namespace

std::string_view TableName(Table table) { return kTableNames[static_cast<size_t>(table)]; }

std::span<const KvBackendRow> KvBackendRegistry() {
  static const std::array rows = {
      KvBackendRow{
          kMemoryTraits,
          [](const KvOptions& options) { return OpenMemoryBackend(options, MemoryTuning()); },
          FindMemoryDamage},
      KvBackendRow{kLmdbTraits, OpenLmdbBackend, FindLmdbDamage},
      KvBackendRow{kRocksdbTraits,
                   [](const KvOptions& options) { return OpenRocksdbBackend(options); },
                   FindRocksdbDamage},
  };
  return rows;
}

absl::StatusOr<std::unique_ptr<KvBackend>> OpenKvBackend(std::string_view name,
                                                         const KvOptions& options) {
  QR_ASSIGN_OR_RETURN(const KvBackendRow* const row, RowOf(name));
  // Libraries write by themselves, so their marker is on the real disk as well.
  const bool own_files = row->traits.data_in_memory && options.env != nullptr;
  FileEnv* env = own_files ? options.env : PosixFileEnv();
  QR_RETURN_IF_ERROR(ClaimFolder(env, options.dir, name));
  return row->open(options);
}

absl::StatusOr<std::vector<std::string>> FindKvDamage(std::string_view name,
                                                      const KvOptions& options) {
  QR_ASSIGN_OR_RETURN(const KvBackendRow* const row, RowOf(name));
  return row->find_damage(options);
}

absl::Status ReclaimAll(KvBackend& backend) {
  while (true) {
    QR_ASSIGN_OR_RETURN(const ReclaimProgress progress, backend.ReclaimStep());
    if (progress == ReclaimProgress::kDone) return absl::OkStatus();
  }
}

absl::Status CheckBatch(std::span<const WriteOp> batch) {
  for (const WriteOp& op : batch) {
    if (op.key.empty() && op.kind != WriteOp::Kind::kDeleteRange) {
      return absl::InvalidArgumentError(StrCat("empty key in table ", TableName(op.table)));
    }
    if (op.key.size() > kValueBytesMax || op.value_or_end.size() > kValueBytesMax) {
      return absl::InvalidArgumentError(StrCat("a record of table ", TableName(op.table),
                                               " is above ", kValueBytesMax, " bytes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quorate::kv
