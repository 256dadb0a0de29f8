#include "backends/kv/rocksdb_backend.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/kv/write_check.h"
#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr size_t kMultiGetKeys = 64;
// A memtable's memory is taken in pieces of this size. RocksDB's default, an eighth of the write
// buffer, would make the first write of a new store count as megabytes.
constexpr size_t kArenaBlockBytes = 16 << 10;
// Files of 32 MB, the usual size: 16 GB are open at a time.
constexpr int kOpenFilesMax = 512;
// While a file is written the system is told to bring it to the disk, so that its sync is short.
constexpr uint64_t kBytesPerSync = 1 << 20;
constexpr size_t kDeletionWindow = 10'000;  // entries

rocksdb::Slice ToSlice(std::string_view data) { return {data.data(), data.size()}; }
std::string_view FromSlice(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ToStatus(std::string_view operation, const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = StrCat("rocksdb ", operation, ": ", status.ToString());
  if (status.IsCorruption()) {
    return absl::DataLossError(
        StrCat(text,
               "; the file is damaged: restore this member from a snapshot, or remove it "
               "from the cluster and add it anew with an empty data directory"));
  }
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

// Keys of one table share their first byte.
std::string StoredKey(Table table, std::string_view key) {
  std::string stored;
  stored.reserve(key.size() + 1);
  stored.push_back(static_cast<char>(table));
  stored.append(key);
  return stored;
}

// An empty `end` is the end of the table.
std::string StoredEnd(Table table, std::string_view end) {
  if (!end.empty()) return StoredKey(table, end);
  return std::string(1, static_cast<char>(static_cast<int>(table) + 1));
}

rocksdb::Options DatabaseOptions(const KvOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
  rocksdb::Options result;
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  result.create_if_missing = true;
  result.compression = rocksdb::kNoCompression;
  result.write_buffer_size = options.memtable_bytes;
  result.max_write_buffer_number = 3;
  result.arena_block_size = kArenaBlockBytes;
  result.allow_concurrent_memtable_write = false;  // there is one writer
  result.target_file_size_base = std::max<uint64_t>(options.memtable_bytes, 2 << 20);
  result.level_compaction_dynamic_level_bytes = true;
  result.max_background_jobs = 2;
  result.max_open_files = kOpenFilesMax;
  result.bytes_per_sync = kBytesPerSync;
  // A compaction of revisions leaves runs of tombstones that every scan would walk over: files with
  // many of them in a row are compacted soon.
  result.table_properties_collector_factories.push_back(
      rocksdb::NewCompactOnDeletionCollectorFactory(kDeletionWindow, kDeletionWindow / 2));
  result.avoid_flush_during_shutdown = true;  // the log replays what was not synced
  result.info_log_level = rocksdb::WARN_LEVEL;
  result.keep_log_file_num = 2;
  result.max_log_file_size = 1 << 20;
  result.stats_dump_period_sec = 0;
  result.stats_persist_period_sec = 0;
  return result;
}

// RocksDB would take a folder that has lost its CURRENT for a new one, and remove its tables.
absl::Status CheckCurrent(FileEnv* files, const std::string& dir) {
  if (files->Exists(dir + "/CURRENT")) return absl::OkStatus();
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(dir));
  for (const std::string& name : names) {
    if (!name.ends_with(".sst")) continue;
    return ToStatus(
        "open", rocksdb::Status::Corruption(StrCat(
                    dir, "/CURRENT at offset 0: the file is missing, but ", name, " has content")));
  }
  return absl::OkStatus();
}

absl::Status OpenStatus(const std::string& dir, const rocksdb::Status& status) {
  // A file that is missing is damage as well, whatever RocksDB calls it.
  const bool missing = status.IsPathNotFound() || status.IsNotFound();
  return ToStatus(StrCat("open ", dir),
                  missing ? rocksdb::Status::Corruption(status.ToString()) : status);
}

// The library closes the database when the last user, backend or snapshot, has let go.
using SharedDb = std::shared_ptr<rocksdb::DB>;

class RocksdbSnapshot final : public KvSnapshot {
 public:
  explicit RocksdbSnapshot(SharedDb db) : db_(std::move(db)), snapshot_(db_->GetSnapshot()) {}
  ~RocksdbSnapshot() override { db_->ReleaseSnapshot(snapshot_); }

  absl::Status Scan(Table table, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor)
      const override {
    if (!end.empty() && begin >= end) return absl::OkStatus();
    const std::string first = StoredKey(table, begin);
    const std::string behind = StoredEnd(table, end);
    const rocksdb::Slice upper_bound = behind;
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    options.iterate_upper_bound = &upper_bound;
    options.fill_cache = false;  // a walk through everything would push out what is in use
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options));
    for (it->Seek(first); it->Valid(); it->Next()) {
      if (!visitor(FromSlice(it->key()).substr(1), FromSlice(it->value()))) break;
    }
    return ToStatus("scan", it->status());
  }

 private:
  const SharedDb db_;
  const rocksdb::Snapshot* const snapshot_;
};

// The compaction of everything, on a thread of its own: writes go on beside it.
class WholeCompaction {
 public:
  explicit WholeCompaction(SharedDb db)
      : thread_([this, db = std::move(db)] {
          rocksdb::CompactRangeOptions options;
          options.exclusive_manual_compaction = false;
          options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
          options.canceled = &canceled_;
          const rocksdb::Status status = db->CompactRange(options, nullptr, nullptr);
          std::lock_guard lock(mutex_);
          ended_ = status;
          changed_.notify_all();
        }) {}
  ~WholeCompaction() {
    canceled_ = true;
    thread_.join();
  }

  // How it ended, if it has.
  std::optional<rocksdb::Status> WaitBriefly() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kWait, [this] { return ended_.has_value(); });
    return ended_;
  }

 private:
  static constexpr auto kWait = std::chrono::milliseconds(5);

  std::atomic<bool> canceled_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<rocksdb::Status> ended_;
  std::thread thread_;  // last: it uses the others
};

class RocksdbBackend final : public KvBackend {
 public:
  absl::Status Open(const KvOptions& options, rocksdb::Env* env) {
    FileEnv* files = PosixFileEnv();
    const std::string dir = options.dir + "/db";
    QR_ASSIGN_OR_RETURN(lock_, files->Lock(options.dir + "/LOCK"));
    QR_RETURN_IF_ERROR(files->MakeDirs(dir));
    QR_RETURN_IF_ERROR(CheckCurrent(files, dir));
    rocksdb::DB* db = nullptr;
    rocksdb::Options database_options = DatabaseOptions(options);
    if (env != nullptr) database_options.env = env;
    const rocksdb::Status status = rocksdb::DB::Open(database_options, dir, &db);
    QR_RETURN_IF_ERROR(OpenStatus(dir, status));
    db_.reset(db);
    return absl::OkStatus();
  }

  const KvTraits& traits() const override { return kRocksdbTraits; }

  absl::Status Write(std::span<const WriteOp> batch) override {
    QR_RETURN_IF_ERROR(failed_);
    QR_RETURN_IF_ERROR(CheckBatch(batch));
    if (batch.empty()) return absl::OkStatus();
    rocksdb::WriteBatch changes;
    for (const WriteOp& op : batch) QR_RETURN_IF_ERROR(ToStatus("batch", Add(op, &changes)));
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    return Remember(ToStatus("write", db_->Write(options, &changes)));
  }

  absl::Status Sync() override {
    QR_RETURN_IF_ERROR(failed_);
    rocksdb::FlushOptions options;
    options.wait = true;
    options.allow_write_stall = true;  // there is no other writer to be stalled
    return Remember(ToStatus("flush", db_->Flush(options)));
  }

  absl::StatusOr<ReclaimProgress> ReclaimStep() override {
    QR_RETURN_IF_ERROR(failed_);
    if (compaction_ == nullptr) compaction_ = std::make_unique<WholeCompaction>(db_);
    const std::optional<rocksdb::Status> ended = compaction_->WaitBriefly();
    if (!ended.has_value()) return ReclaimProgress::kMore;
    compaction_.reset();
    absl::Status status = ToStatus("compact", *ended);
    // Whether a full disk stops more than this compaction, the next write tells.
    if (!absl::IsResourceExhausted(status)) status = Remember(std::move(status));
    QR_RETURN_IF_ERROR(status);
    return ReclaimProgress::kDone;
  }

  absl::Status Read(Table table, std::span<const std::string_view> keys,
                    absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)>
                        visitor) const override {
    rocksdb::ReadOptions options;
    if (keys.size() == 1) return ReadOne(options, table, keys[0], visitor);
    if (keys.size() <= kMultiGetKeys) return ReadSome(options, table, keys, 0, visitor);
    // One call sees one state; more than one need a snapshot for that.
    const auto release = [this](const rocksdb::Snapshot* snapshot) {
      db_->ReleaseSnapshot(snapshot);
    };
    const std::unique_ptr<const rocksdb::Snapshot, decltype(release)> snapshot(db_->GetSnapshot(),
                                                                               release);
    options.snapshot = snapshot.get();
    for (size_t first = 0; first < keys.size(); first += kMultiGetKeys) {
      const size_t count = std::min(kMultiGetKeys, keys.size() - first);
      QR_RETURN_IF_ERROR(ReadSome(options, table, keys.subspan(first, count), first, visitor));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<KvSnapshot>> NewSnapshot() const override {
    return std::make_unique<RocksdbSnapshot>(db_);
  }

  KvSizes Sizes() const override {
    // In this order a memtable that becomes a file in between counts twice rather than not at all.
    const uint64_t memory = Property(rocksdb::DB::Properties::kCurSizeAllMemTables);
    const uint64_t files = Property(rocksdb::DB::Properties::kTotalSstFilesSize);
    const uint64_t empty = kEmptyMemtableBytes;
    const uint64_t pending = memory - std::min(memory, empty);
    return {files + pending, std::min(files, LiveBytes()) + pending};
  }

 private:
  // What RocksDB counts for a memtable without content, with room to spare.
  static constexpr uint64_t kEmptyMemtableBytes = 2048;

  static rocksdb::Status Add(const WriteOp& op, rocksdb::WriteBatch* changes) {
    const char table = static_cast<char>(op.table);
    const std::array<rocksdb::Slice, 2> key_parts = {rocksdb::Slice(&table, 1), ToSlice(op.key)};
    const rocksdb::SliceParts key(key_parts.data(), key_parts.size());
    switch (op.kind) {
      case WriteOp::Kind::kPut: {
        const rocksdb::Slice value = ToSlice(op.value_or_end);
        return changes->Put(key, rocksdb::SliceParts(&value, 1));
      }
      case WriteOp::Kind::kDelete:
        return changes->Delete(key);
      case WriteOp::Kind::kDeleteRange:
        if (!op.value_or_end.empty() && op.key >= op.value_or_end) return rocksdb::Status::OK();
        return changes->DeleteRange(StoredKey(op.table, op.key),
                                    StoredEnd(op.table, op.value_or_end));
    }
    return rocksdb::Status::OK();
  }

  absl::Status ReadOne(
      const rocksdb::ReadOptions& options, Table table, std::string_view key,
      absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)> visitor) const {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get(options, db_->DefaultColumnFamily(), StoredKey(table, key), &value);
    if (status.IsNotFound()) {
      visitor(0, std::nullopt);
      return absl::OkStatus();
    }
    QR_RETURN_IF_ERROR(ToStatus("read", status));
    visitor(0, FromSlice(value));
    return absl::OkStatus();
  }

  // The keys by one call of the library; at most kMultiGetKeys.
  absl::Status ReadSome(
      const rocksdb::ReadOptions& options, Table table, std::span<const std::string_view> keys,
      size_t first,
      absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)> visitor) const {
    rocksdb::ColumnFamilyHandle* family = db_->DefaultColumnFamily();
    std::vector<std::string> stored(keys.size());
    std::vector<rocksdb::Slice> slices(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      stored[i] = StoredKey(table, keys[i]);
      slices[i] = stored[i];
    }
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    db_->MultiGet(options, family, keys.size(), slices.data(), values.data(), statuses.data(),
                  /*sorted_input=*/false);
    for (size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].IsNotFound()) {
        visitor(first + i, std::nullopt);
        continue;
      }
      QR_RETURN_IF_ERROR(ToStatus("read", statuses[i]));
      visitor(first + i, FromSlice(values[i]));
    }
    return absl::OkStatus();
  }

  uint64_t Property(const std::string& name) const {
    uint64_t value = 0;
    return db_->GetIntProperty(name, &value) ? value : 0;
  }

  // The files' bytes without what deletes have superseded: each takes itself and one older record
  // away. Overwritten records and range deletes show only when they have been compacted. (RocksDB's
  // own estimate needs files whose keys do not overlap, and ours all hold the applied index.)
  uint64_t LiveBytes() const {
    const uint64_t files = Property(rocksdb::DB::Properties::kLiveSstFilesSize);
    std::lock_guard lock(live_mutex_);
    if (live_.files_bytes != files) live_ = {files, ComputeLiveBytes(files)};
    return live_.live_bytes;
  }

  uint64_t ComputeLiveBytes(uint64_t files_bytes) const {
    std::map<std::string, std::string> properties;
    if (!db_->GetMapProperty(rocksdb::DB::Properties::kAggregatedTableProperties, &properties)) {
      return 0;
    }
    const auto number = [&](const char* name) {
      const std::string& text = properties[name];
      double value = 0;
      std::from_chars(text.data(), text.data() + text.size(), value);
      return value;
    };
    const double entries = number("num_entries");
    const double deletions = number("num_deletions");
    const double puts = entries - deletions;
    if (puts <= 0) return 0;
    const double bytes = static_cast<double>(files_bytes);
    return static_cast<uint64_t>(bytes * std::max(0.0, puts - deletions) / puts);
  }

  absl::Status Remember(absl::Status status) {
    if (!status.ok()) failed_ = status;
    return status;
  }

  // Reading the properties of all files is not cheap, so they are read when the files have changed.
  struct LiveEstimate {
    uint64_t files_bytes = 0;
    uint64_t live_bytes = 0;
  };

  std::unique_ptr<FileLock> lock_;
  SharedDb db_;
  absl::Status failed_;
  std::unique_ptr<WholeCompaction> compaction_;
  mutable std::mutex live_mutex_;
  mutable LiveEstimate live_;
};

}  // namespace

const KvTraits kRocksdbTraits = {
    .name = "rocksdb",
    .summary = "RocksDB: a log-structured merge tree, its own log off",
    .data_in_memory = false,
};

absl::StatusOr<std::unique_ptr<KvBackend>> OpenRocksdbBackend(const KvOptions& options,
                                                              rocksdb::Env* env) {
  auto backend = std::make_unique<RocksdbBackend>();
  QR_RETURN_IF_ERROR(backend->Open(options, env));
  return backend;
}

// All tables in the folder when the database cannot tell which of them count.
std::vector<std::string> FindRocksdbDamage(const KvOptions& options) {
  const std::string dir = options.dir + "/db";
  const absl::Status current = CheckCurrent(PosixFileEnv(), dir);
  if (!current.ok()) return {std::string(ToStd(current.message()))};
  rocksdb::Options database_options = DatabaseOptions(options);
  database_options.create_if_missing = false;
  rocksdb::DB* raw = nullptr;
  const absl::Status opened =
      OpenStatus(dir, rocksdb::DB::OpenForReadOnly(database_options, dir, &raw));
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::vector<std::string> tables;
  if (opened.ok()) {
    std::vector<rocksdb::LiveFileMetaData> files;
    db->GetLiveFilesMetaData(&files);
    for (const auto& file : files) tables.push_back(file.name);
  } else if (const auto names = PosixFileEnv()->List(dir); names.ok()) {
    for (const std::string& name : *names) {
      if (name.ends_with(".sst")) tables.push_back("/" + name);
    }
  }
  std::sort(tables.begin(), tables.end());
  std::vector<std::string> found;
  bool is_why = false;
  for (const std::string& table : tables) {
    rocksdb::SstFileReader reader(database_options);
    rocksdb::Status status = reader.Open(dir + table);
    if (status.ok()) status = reader.VerifyChecksum();
    if (status.ok()) continue;
    found.emplace_back(ToStd(ToStatus(StrCat("table ", dir, table), status).message()));
    is_why = is_why || ToStd(opened.message()).find(table) != std::string_view::npos;
  }
  if (!opened.ok() && !is_why) found.emplace_back(ToStd(opened.message()));
  return found;
}

}  // namespace quorate::kv
