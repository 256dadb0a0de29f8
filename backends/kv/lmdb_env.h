// One LMDB environment (one folder with data.mdb) that holds the ten tables, with checksums and
// keys of any length on top.
//
// A stored value is the value followed by the CRC-32C of table, key and value (LMDB has no
// checksums of its own): damage shows as kDataLoss when the record is read. Keys of 511 bytes,
// LMDB's bound, stand for all keys that begin with them: the stored value is then a list, in order,
// of u32 suffix bytes, u32 value bytes, suffix, value.
//
// Errors: kDataLoss names the file, and the record where one is known (LMDB does not tell offsets);
// kResourceExhausted for a full disk or map or too many readers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"
#include "backends/kv/table_set.h"

struct MDB_cursor;
struct MDB_env;
struct MDB_txn;

namespace quorate::kv {

// Changes that are to be laid over an LMDB: a TableSet whose values begin with one of these.
enum class OverlayTag : char { kPut = 'p', kDelete = 'd' };

class LmdbEnv : public std::enable_shared_from_this<LmdbEnv> {
 public:
  // A consistent state of the environment, which it keeps alive. Movable; any thread, one at a
  // time.
  class ReadTxn {
   public:
    ReadTxn(ReadTxn&& other) noexcept = default;
    ReadTxn& operator=(ReadTxn&& other) noexcept = default;
    ~ReadTxn();

   private:
    friend class LmdbEnv;
    friend class LmdbCursor;
    ReadTxn(std::shared_ptr<const LmdbEnv> env, MDB_txn* txn) : env_(std::move(env)), txn_(txn) {}
    std::shared_ptr<const LmdbEnv> env_;  // null: moved from
    MDB_txn* txn_;
  };

  // The folder must exist; an empty one becomes an environment without content. The map is virtual
  // memory: less is taken when the system grants less than `map_bytes_max`.
  static absl::StatusOr<std::shared_ptr<LmdbEnv>> Open(const std::string& dir,
                                                       uint64_t map_bytes_max);
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  absl::StatusOr<ReadTxn> BeginRead() const;  // any thread
  // The view lives as long as `txn`.
  absl::Status Get(const ReadTxn& txn, Table table, std::string_view key,
                   std::optional<std::string_view>* value) const;

  // How far a copy has come: all tables before `table`, and of that one all up to `last`.
  struct CopyPlace {
    size_t table = 0;
    std::string last;  // as stored; empty: nothing yet

    bool complete() const { return table == kTableCount; }
    bool Covers(Table of, std::string_view key) const;
  };

  // Writer: applies all changes in one transaction, durable when it returns. With a place, only
  // those that it covers: the others come with the rest of the copy.
  absl::Status Apply(const TableSet::Version& changes, const CopyPlace* covered = nullptr);
  // Writer: copies about `bytes_max` more of the latest state of `from` to this one, which holds
  // what `place` covers and nothing else, in key order and without free pages. One transaction,
  // durable when it returns.
  absl::Status CopySome(const LmdbEnv& from, uint64_t bytes_max, CopyPlace* place);
  // Reads everything once; tells up to `most` damaged records. Nothing is read behind damage of
  // the tree itself.
  std::vector<std::string> FindDamage(size_t most) const;

  KvSizes sizes() const {  // any thread
    return {on_disk_.load(std::memory_order_relaxed), in_use_.load(std::memory_order_relaxed)};
  }

 private:
  friend class LmdbCursor;
  LmdbEnv(std::string dir, MDB_env* env);
  absl::Status OpenTables();
  absl::Status CheckFileLength() const;
  absl::Status ApplyTable(MDB_txn* txn, Table table, const PackedNode* changes,
                          const CopyPlace* covered);
  absl::Status CopyTable(MDB_txn* txn, const ReadTxn& from, uint64_t* bytes_left,
                         CopyPlace* place) const;
  absl::Status PutRecord(MDB_cursor* cursor, Table table, std::string_view key,
                         std::string_view value, unsigned flags);
  absl::Status DeleteRecord(MDB_txn* txn, Table table, std::string_view key);
  absl::Status ChangeGroup(MDB_txn* txn, Table table, std::string_view key,
                           std::optional<std::string_view> value);
  absl::Status UpdateSizes();
  absl::Status Error(std::string_view operation, int code) const;
  // Takes the checksum off what LMDB stores.
  absl::StatusOr<std::string_view> Checked(Table table, std::string_view key,
                                           std::string_view stored) const;
  std::string OffsetOf(const char* data) const;
  void Release(MDB_txn* txn) const;
  unsigned dbi(Table table) const { return dbis_[static_cast<size_t>(table)]; }

  const std::string dir_;
  MDB_env* const env_;
  std::array<unsigned, kTableCount> dbis_{};
  std::atomic<uint64_t> on_disk_{0};
  std::atomic<uint64_t> in_use_{0};

  mutable std::mutex mutex_;
  mutable std::vector<MDB_txn*> idle_;  // reset read transactions, to be renewed
};

// Walks one table of a read transaction in key order. While `valid()`, key and value may be looked
// at; they live until the next move.
class LmdbCursor {
 public:
  LmdbCursor(const LmdbEnv::ReadTxn& txn, Table table);
  ~LmdbCursor();
  LmdbCursor(const LmdbCursor&) = delete;
  LmdbCursor& operator=(const LmdbCursor&) = delete;

  // To the first record that is not below `key`.
  void Seek(std::string_view key);
  void Next();
  bool valid() const { return valid_; }
  const absl::Status& status() const { return status_; }
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  void Move(int operation, std::string_view key);
  void NextOfGroup();

  const LmdbEnv& env_;
  const Table table_;
  MDB_cursor* cursor_ = nullptr;
  absl::Status status_;
  bool valid_ = false;
  std::string_view key_;
  std::string_view value_;
  // Within the list of a long key.
  std::string_view group_stem_;
  std::string_view group_rest_;
  std::string long_key_;
};

}  // namespace quorate::kv
