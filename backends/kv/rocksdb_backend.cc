#include "backends/kv/rocksdb_backend.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <utility>

#include "absl/container/inlined_vector.h"
#include "backends/kv/write_check.h"
#include "base/file_env.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = StrCat("rocksdb: ", what, ": ", status.ToString());
  if (status.IsCorruption()) {
    return absl::DataLossError(
        StrCat(text, "; restore the data directory from a backup or start this member anew"));
  }
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

char PrefixOf(Table table) { return static_cast<char>(static_cast<uint8_t>(table) + 1); }

// A key behind its table's byte, without a heap allocation for the usual sizes.
class PrefixedKey {
 public:
  PrefixedKey(Table table, std::string_view key) {
    bytes_.reserve(key.size() + 1);
    bytes_.push_back(PrefixOf(table));
    bytes_.insert(bytes_.end(), key.begin(), key.end());
  }
  // The end of an interval: an empty one is the end of the table.
  static PrefixedKey End(Table table, std::string_view end) {
    PrefixedKey key(table, end);
    if (end.empty()) ++key.bytes_[0];
    return key;
  }
  rocksdb::Slice slice() const { return {bytes_.data(), bytes_.size()}; }

 private:
  absl::InlinedVector<char, 40> bytes_;
};

rocksdb::Options OptionsFrom(const KvOptions& options) {
  rocksdb::Options out;
  out.create_if_missing = true;
  out.write_buffer_size = options.memtable_bytes;
  out.max_write_buffer_number = 3;
  out.max_background_jobs = 2;
  out.max_open_files = 256;
  out.compression = rocksdb::kNoCompression;  // values are opaque, and the measures are of bytes
  out.paranoid_checks = true;
  out.manual_wal_flush = true;
  out.avoid_flush_during_shutdown = true;  // the log brings back what was not synced
  out.max_manifest_file_size = 4 << 20;
  out.info_log_level = rocksdb::WARN_LEVEL;
  out.keep_log_file_num = 2;
  out.stats_dump_period_sec = 0;
  out.stats_persist_period_sec = 0;
  // Revisions come in order: files of one level hardly overlap and move down without a rewrite.
  out.level_compaction_dynamic_level_bytes = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
  table.cache_index_and_filter_blocks = true;
  out.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return out;
}

class RocksDbSnapshot final : public KvSnapshot {
 public:
  explicit RocksDbSnapshot(std::shared_ptr<rocksdb::DB> db)
      : db_(std::move(db)), snapshot_(db_->GetSnapshot()) {}
  ~RocksDbSnapshot() override { db_->ReleaseSnapshot(snapshot_); }

  absl::Status Scan(
      Table table, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view, std::string_view)> visitor) const override {
    const PrefixedKey first(table, begin);
    const PrefixedKey last = PrefixedKey::End(table, end);
    if (!end.empty() && end <= begin) return absl::OkStatus();
    const rocksdb::Slice bound = last.slice();
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    options.iterate_upper_bound = &bound;
    options.fill_cache = false;
    options.readahead_size = 256 << 10;
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options));
    for (at->Seek(first.slice()); at->Valid(); at->Next()) {
      if (!visitor(ToView(at->key()).substr(1), ToView(at->value()))) break;
    }
    return ToStatus(at->status(), "scan");
  }

 private:
  const std::shared_ptr<rocksdb::DB> db_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksDbBackend final : public KvBackend {
 public:
  explicit RocksDbBackend(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}

  const KvTraits& traits() const override { return kRocksDbTraits; }

  absl::Status Write(std::span<const WriteOp> batch) override {
    QR_RETURN_IF_ERROR(CheckBatch(batch));
    if (batch.empty()) return absl::OkStatus();
    rocksdb::WriteBatch out;
    for (const WriteOp& op : batch) {
      const PrefixedKey key(op.table, op.key);
      rocksdb::Status added;
      switch (op.kind) {
        case WriteOp::Kind::kPut:
          added = out.Put(key.slice(), ToSlice(op.value_or_end));
          break;
        case WriteOp::Kind::kDelete:
          added = out.Delete(key.slice());
          break;
        case WriteOp::Kind::kDeleteRange: {
          if (!op.value_or_end.empty() && op.value_or_end <= op.key) break;
          const PrefixedKey end = PrefixedKey::End(op.table, op.value_or_end);
          added = out.DeleteRange(key.slice(), end.slice());
          break;
        }
      }
      QR_RETURN_IF_ERROR(ToStatus(added, "write"));
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    return ToStatus(db_->Write(options, &out), "write");
  }

  absl::Status Sync() override {
    rocksdb::FlushOptions options;
    options.wait = true;
    return ToStatus(db_->Flush(options), "flush");
  }

  absl::Status Reclaim() override {
    QR_RETURN_IF_ERROR(Sync());
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
    return ToStatus(db_->CompactRange(options, nullptr, nullptr), "compact");
  }

  absl::Status Read(
      Table table, std::span<const std::string_view> keys,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override {
    rocksdb::PinnableSlice value;
    rocksdb::ReadOptions options;
    // One state for all keys, so that no batch is seen by half.
    std::optional<rocksdb::ManagedSnapshot> one_state;
    if (keys.size() > 1) options.snapshot = one_state.emplace(db_.get()).snapshot();
    for (size_t i = 0; i < keys.size(); ++i) {
      const PrefixedKey key(table, keys[i]);
      value.Reset();
      const rocksdb::Status found =
          db_->Get(options, db_->DefaultColumnFamily(), key.slice(), &value);
      if (found.IsNotFound()) {
        visitor(i, std::nullopt);
        continue;
      }
      QR_RETURN_IF_ERROR(ToStatus(found, "read"));
      visitor(i, ToView(value));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<KvSnapshot>> NewSnapshot() const override {
    return std::make_unique<RocksDbSnapshot>(db_);
  }

  KvSizes Sizes() const override {
    const uint64_t memtables = Property(rocksdb::DB::Properties::kCurSizeAllMemTables);
    // An empty memtable reserves an arena block; that is no data.
    const uint64_t unflushed = EmptyMemtables() ? 0 : memtables;
    return {Property(rocksdb::DB::Properties::kTotalSstFilesSize) + unflushed,
            Property(rocksdb::DB::Properties::kEstimateLiveDataSize) + unflushed};
  }

 private:
  uint64_t Property(const std::string& name) const {
    uint64_t value = 0;
    db_->GetIntProperty(name, &value);
    return value;
  }
  bool EmptyMemtables() const {
    return Property(rocksdb::DB::Properties::kNumEntriesActiveMemTable) == 0 &&
           Property(rocksdb::DB::Properties::kNumEntriesImmMemTables) == 0;
  }

  const std::shared_ptr<rocksdb::DB> db_;
};

}  // namespace

const KvTraits kRocksDbTraits = {
    .name = "rocksdb",
    .summary = "RocksDB: an LSM tree, its own log off",
    .data_in_memory = false,
};

absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksDbBackend(const KvOptions& options) {
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(OptionsFrom(options), options.dir, &raw);
  std::unique_ptr<rocksdb::DB> db(raw);
  QR_RETURN_IF_ERROR(ToStatus(opened, StrCat("open ", options.dir)));
  return std::make_unique<RocksDbBackend>(std::move(db));
}

}  // namespace quorate::kv
