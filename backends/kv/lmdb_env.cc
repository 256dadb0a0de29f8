#include "backends/kv/lmdb_env.h"

#include <lmdb.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backends/kv/lmdb_group.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/file_env.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr size_t kLongKeyBytes = 511;  // MDB_MAXKEYSIZE of Debian's build; checked at open
constexpr size_t kCrcBytes = sizeof(uint32_t);
constexpr unsigned kReadersMax = 2048;
// A disk with less room than this counts as full: above what LMDB writes in one call.
constexpr uint64_t kFullDiskBytesMax = 2 << 20;
constexpr uint64_t kMapBytesLeast = 64 << 20;
constexpr std::string_view kWayOut =
    "restore this member from a snapshot, or remove it from the cluster and add it anew with an "
    "empty data directory";

MDB_val ToVal(std::string_view data) { return {data.size(), const_cast<char*>(data.data())}; }
std::string_view FromVal(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

bool IsLong(std::string_view key) { return key.size() >= kLongKeyBytes; }

uint32_t RecordCrc(Table table, std::string_view key, std::string_view value) {
  const char table_byte = static_cast<char>(table);
  return Crc32c(Crc32c(Crc32c(0, {&table_byte, 1}), key), value);
}

// Ends a transaction that was not committed.
class WriteTxn {
 public:
  explicit WriteTxn(MDB_txn* txn) : txn_(txn) {}
  ~WriteTxn() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  WriteTxn(const WriteTxn&) = delete;
  WriteTxn& operator=(const WriteTxn&) = delete;
  MDB_txn* get() const { return txn_; }
  int Commit() { return mdb_txn_commit(std::exchange(txn_, nullptr)); }

 private:
  MDB_txn* txn_;
};

class CursorHolder {
 public:
  ~CursorHolder() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  MDB_cursor** out() { return &cursor_; }
  MDB_cursor* get() const { return cursor_; }

 private:
  MDB_cursor* cursor_ = nullptr;
};

}  // namespace

LmdbEnv::LmdbEnv(std::string dir, MDB_env* env) : dir_(std::move(dir)), env_(env) {}

LmdbEnv::~LmdbEnv() {
  for (MDB_txn* txn : idle_) mdb_txn_abort(txn);
  mdb_env_close(env_);
}

absl::Status LmdbEnv::Error(std::string_view operation, int code) const {
  // LMDB takes a write that ends short for an I/O error, which is what a disk that runs full does
  // first.
  struct statvfs disk {};
  const bool full = code == EIO && statvfs(dir_.c_str(), &disk) == 0 &&
                    disk.f_bavail * disk.f_frsize < kFullDiskBytesMax;
  if (full) code = ENOSPC;
  const std::string text = StrCat("lmdb ", operation, " ", dir_, "/data.mdb: ", mdb_strerror(code));
  switch (code) {
    case MDB_MAP_FULL:
      return absl::ResourceExhaustedError(
          StrCat(text, "; compact and defragment, or raise the bound of the map"));
    case MDB_READERS_FULL:
      return absl::ResourceExhaustedError(
          StrCat(text, "; more than ", kReadersMax, " readers at a time"));
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(text);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
      return absl::DataLossError(StrCat(text, "; the file is damaged: ", kWayOut));
    case MDB_VERSION_MISMATCH:
      return absl::FailedPreconditionError(
          StrCat(text, "; it was written by another version of LMDB"));
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<std::shared_ptr<LmdbEnv>> LmdbEnv::Open(const std::string& dir,
                                                       uint64_t map_bytes_max) {
  while (true) {
    MDB_env* raw = nullptr;
    QR_CHECK(mdb_env_create(&raw) == 0);
    auto env = std::shared_ptr<LmdbEnv>(new LmdbEnv(dir, raw));
    QR_CHECK(mdb_env_get_maxkeysize(raw) == static_cast<int>(kLongKeyBytes));
    QR_CHECK(mdb_env_set_maxdbs(raw, kTableCount) == 0);
    QR_CHECK(mdb_env_set_maxreaders(raw, kReadersMax) == 0);
    QR_CHECK(mdb_env_set_mapsize(raw, map_bytes_max) == 0);
    const int code = mdb_env_open(raw, dir.c_str(), MDB_NOTLS, 0600);
    if (code == ENOMEM && map_bytes_max / 2 >= kMapBytesLeast) {
      map_bytes_max /= 2;
      continue;
    }
    if (code != 0) return env->Error("open", code);
    // Slots of readers that died with their process.
    int dead = 0;
    const int checked = mdb_reader_check(raw, &dead);
    if (checked != 0) return env->Error("check readers", checked);
    QR_RETURN_IF_ERROR(env->OpenTables());
    QR_RETURN_IF_ERROR(env->CheckFileLength());
    return env;
  }
}

absl::Status LmdbEnv::OpenTables() {
  // Read first: an environment that has its tables is not written to by being opened.
  for (const bool create : {false, true}) {
    MDB_txn* raw = nullptr;
    int code = mdb_txn_begin(env_, nullptr, create ? 0 : MDB_RDONLY, &raw);
    if (code != 0) return Error("begin", code);
    WriteTxn txn(raw);
    for (size_t i = 0; i < kTableCount && code == 0; ++i) {
      const std::string name(TableName(static_cast<Table>(i)));
      code = mdb_dbi_open(txn.get(), name.c_str(), create ? MDB_CREATE : 0, &dbis_[i]);
    }
    if (code == MDB_NOTFOUND && !create) continue;
    if (code != 0) return Error("open table", code);
    code = txn.Commit();
    if (code != 0) return Error("commit", code);
    break;
  }
  return UpdateSizes();
}

absl::Status LmdbEnv::CheckFileLength() const {
  const std::string path = dir_ + "/data.mdb";
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, PosixFileEnv()->Open(path, WriteMode::kBuffered));
  QR_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  const uint64_t expected = sizes().on_disk;
  if (size >= expected) return absl::OkStatus();
  // Pages at the end that were taken and given back by one transaction are never written, so a
  // short file may be a good one. Touching the map behind its end would kill the process: fill it
  // with zeros, which no record and no page can be, and look at everything.
  QR_RETURN_IF_ERROR(file->Truncate(expected));
  const std::vector<std::string> found = FindDamage(1);
  if (found.empty()) return absl::OkStatus();
  return absl::DataLossError(StrCat(path, " at offset ", size,
                                    ": the file ends here, where it had ", expected,
                                    " bytes before; ", found.front()));
}

std::vector<std::string> LmdbEnv::FindDamage(size_t most) const {
  std::vector<std::string> found;
  const auto tell = [&found](const absl::Status& status) {
    found.emplace_back(ToStd(status.message()));
  };
  const absl::StatusOr<ReadTxn> txn = BeginRead();
  if (!txn.ok()) tell(txn.status());
  for (size_t i = 0; i < kTableCount && txn.ok() && found.size() < most; ++i) {
    const auto table = static_cast<Table>(i);
    CursorHolder cursor;
    int code = mdb_cursor_open(txn->txn_, dbi(table), cursor.out());
    MDB_val key;
    MDB_val stored;
    if (code == 0) code = mdb_cursor_get(cursor.get(), &key, &stored, MDB_FIRST);
    for (; code == 0 && found.size() < most;
         code = mdb_cursor_get(cursor.get(), &key, &stored, MDB_NEXT)) {
      const auto checked = Checked(table, FromVal(key), FromVal(stored));
      if (!checked.ok()) tell(checked.status());
    }
    if (code != 0 && code != MDB_NOTFOUND) tell(Error("scan", code));
  }
  return found;
}

absl::Status LmdbEnv::UpdateSizes() {
  QR_ASSIGN_OR_RETURN(const ReadTxn txn, BeginRead());
  MDB_stat stat;
  uint64_t pages = 2;  // the two meta pages
  const auto add = [&] {
    pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
  };
  int code = mdb_env_stat(env_, &stat);
  if (code != 0) return Error("stat", code);
  add();
  for (const unsigned table : dbis_) {
    code = mdb_stat(txn.txn_, table, &stat);
    if (code != 0) return Error("stat", code);
    add();
  }
  MDB_envinfo info;
  code = mdb_env_info(env_, &info);
  if (code != 0) return Error("info", code);
  const uint64_t pages_max = info.me_last_pgno + 1;
  on_disk_.store(pages_max * stat.ms_psize, std::memory_order_relaxed);
  in_use_.store(std::min(pages, pages_max) * stat.ms_psize, std::memory_order_relaxed);
  return absl::OkStatus();
}

// ---- Reading.

LmdbEnv::ReadTxn::~ReadTxn() {
  if (env_ != nullptr) env_->Release(txn_);
}

absl::StatusOr<LmdbEnv::ReadTxn> LmdbEnv::BeginRead() const {
  MDB_txn* txn = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      txn = idle_.back();
      idle_.pop_back();
    }
  }
  const int code =
      txn != nullptr ? mdb_txn_renew(txn) : mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (code != 0) {
    if (txn != nullptr) mdb_txn_abort(txn);
    return Error("begin read", code);
  }
  return ReadTxn(shared_from_this(), txn);
}

void LmdbEnv::Release(MDB_txn* txn) const {
  mdb_txn_reset(txn);
  std::lock_guard lock(mutex_);
  idle_.push_back(txn);
}

absl::StatusOr<std::string_view> LmdbEnv::Checked(Table table, std::string_view key,
                                                  std::string_view stored) const {
  if (stored.size() >= kCrcBytes) {
    const std::string_view value = stored.substr(0, stored.size() - kCrcBytes);
    uint32_t crc;
    std::memcpy(&crc, stored.data() + value.size(), kCrcBytes);
    if (crc == RecordCrc(table, key, value)) return value;
  }
  return absl::DataLossError(StrCat(dir_, "/data.mdb at offset ", OffsetOf(stored.data()),
                                    ": a record of table ", TableName(table),
                                    " has the wrong checksum; ", kWayOut));
}

// Where a pointer into the map lies in the file. LMDB tells no base address, but each page begins
// with its own number; a value of many pages begins in the first one.
std::string LmdbEnv::OffsetOf(const char* data) const {
  MDB_stat stat;
  MDB_envinfo info;
  if (mdb_env_stat(env_, &stat) != 0 || mdb_env_info(env_, &info) != 0) return "unknown";
  const uintptr_t within = reinterpret_cast<uintptr_t>(data) % stat.ms_psize;
  uint64_t page;
  std::memcpy(&page, data - within, sizeof(page));
  if (page > info.me_last_pgno) return "unknown (the number of its page is damaged, too)";
  return StrCat(page * stat.ms_psize + within);
}

absl::Status LmdbEnv::Get(const ReadTxn& txn, Table table, std::string_view key,
                          std::optional<std::string_view>* value) const {
  value->reset();
  if (key.empty()) return absl::OkStatus();
  const std::string_view stem = key.substr(0, kLongKeyBytes);
  MDB_val stored_key = ToVal(stem);
  MDB_val stored;
  const int code = mdb_get(txn.txn_, dbi(table), &stored_key, &stored);
  if (code == MDB_NOTFOUND) return absl::OkStatus();
  if (code != 0) return Error("get", code);
  QR_ASSIGN_OR_RETURN(const std::string_view checked, Checked(table, stem, FromVal(stored)));
  *value = IsLong(key) ? FindInGroup(checked, key.substr(kLongKeyBytes))
                       : std::optional<std::string_view>(checked);
  return absl::OkStatus();
}

LmdbCursor::LmdbCursor(const LmdbEnv::ReadTxn& txn, Table table) : env_(*txn.env_), table_(table) {
  const int code = mdb_cursor_open(txn.txn_, env_.dbi(table), &cursor_);
  if (code != 0) status_ = env_.Error("open cursor", code);
}

LmdbCursor::~LmdbCursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

void LmdbCursor::Seek(std::string_view key) {
  const std::string wanted(key);  // may be a view of what the move invalidates
  const std::string_view stem = std::string_view(wanted).substr(0, kLongKeyBytes);
  Move(wanted.empty() ? MDB_FIRST : MDB_SET_RANGE, stem);
  while (valid_ && key_ < wanted) Next();  // within a list of long keys
}

void LmdbCursor::Next() {
  QR_CHECK(valid_);
  if (!group_rest_.empty()) return NextOfGroup();
  Move(MDB_NEXT, {});
}

void LmdbCursor::Move(int operation, std::string_view key) {
  valid_ = false;
  if (!status_.ok()) return;
  MDB_val stored_key = ToVal(key);
  MDB_val stored;
  const int code =
      mdb_cursor_get(cursor_, &stored_key, &stored, static_cast<MDB_cursor_op>(operation));
  if (code == MDB_NOTFOUND) return;
  if (code != 0) {
    status_ = env_.Error("scan", code);
    return;
  }
  key_ = FromVal(stored_key);
  absl::StatusOr<std::string_view> checked = env_.Checked(table_, key_, FromVal(stored));
  if (!checked.ok()) {
    status_ = checked.status();
    return;
  }
  value_ = *checked;
  valid_ = true;
  if (!IsLong(key_)) return;
  group_stem_ = key_;
  group_rest_ = value_;
  NextOfGroup();
}

void LmdbCursor::NextOfGroup() {
  const std::optional<GroupEntry> entry = TakeGroupEntry(&group_rest_);
  QR_CHECK_MSG(entry.has_value(), "a list of long keys is broken though its checksum is right");
  long_key_.assign(group_stem_);
  long_key_.append(entry->suffix);
  key_ = long_key_;
  value_ = entry->value;
}

// ---- Writing.

absl::Status LmdbEnv::Apply(const TableSet::Version& changes, const CopyPlace* covered) {
  MDB_txn* raw = nullptr;
  int code = mdb_txn_begin(env_, nullptr, 0, &raw);
  if (code != 0) return Error("begin", code);
  WriteTxn txn(raw);
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    if (changes.root(table) == nullptr) continue;
    QR_RETURN_IF_ERROR(ApplyTable(txn.get(), table, changes.root(table), covered));
  }
  code = txn.Commit();
  if (code != 0) return Error("commit", code);
  return UpdateSizes();
}

absl::Status LmdbEnv::ApplyTable(MDB_txn* txn, Table table, const PackedNode* changes,
                                 const CopyPlace* covered) {
  CursorHolder cursor;
  int code = mdb_cursor_open(txn, dbi(table), cursor.out());
  if (code != 0) return Error("open cursor", code);
  // Behind the last key LMDB may append, which is cheaper and fills pages to the end.
  MDB_val last_key;
  MDB_val ignored;
  std::string last;
  code = mdb_cursor_get(cursor.get(), &last_key, &ignored, MDB_LAST);
  if (code == 0) last.assign(FromVal(last_key));
  if (code != 0 && code != MDB_NOTFOUND) return Error("find last", code);

  absl::Status status;
  TreeScan(changes, {}, {}, [&](std::string_view key, std::string_view tagged) {
    if (covered != nullptr && !covered->Covers(table, key)) return false;  // nor those behind it
    const bool put = tagged.front() == static_cast<char>(OverlayTag::kPut);
    const std::string_view value = tagged.substr(1);
    if (IsLong(key)) {
      status = ChangeGroup(txn, table, key, put ? std::optional(value) : std::nullopt);
      // What is last now is not worth knowing: long keys are rare.
      last.assign(kLongKeyBytes, '\xff');
    } else if (!put) {
      status = DeleteRecord(txn, table, key);
    } else {
      const bool append = key > last;
      status = PutRecord(cursor.get(), table, key, value, append ? MDB_APPEND : 0);
    }
    return status.ok();
  });
  return status;
}

absl::Status LmdbEnv::PutRecord(MDB_cursor* cursor, Table table, std::string_view key,
                                std::string_view value, unsigned flags) {
  MDB_val stored_key = ToVal(key);
  MDB_val stored = {value.size() + kCrcBytes, nullptr};
  const int code = mdb_cursor_put(cursor, &stored_key, &stored, flags | MDB_RESERVE);
  if (code != 0) return Error("put", code);
  auto* out = static_cast<char*>(stored.mv_data);
  if (!value.empty()) std::memcpy(out, value.data(), value.size());
  const uint32_t crc = RecordCrc(table, key, value);
  std::memcpy(out + value.size(), &crc, kCrcBytes);
  return absl::OkStatus();
}

absl::Status LmdbEnv::DeleteRecord(MDB_txn* txn, Table table, std::string_view key) {
  MDB_val stored_key = ToVal(key);
  const int code = mdb_del(txn, dbi(table), &stored_key, nullptr);
  if (code == 0 || code == MDB_NOTFOUND) return absl::OkStatus();
  return Error("delete", code);
}

absl::Status LmdbEnv::ChangeGroup(MDB_txn* txn, Table table, std::string_view key,
                                  std::optional<std::string_view> value) {
  const std::string_view stem = key.substr(0, kLongKeyBytes);
  MDB_val stored_key = ToVal(stem);
  MDB_val stored;
  int code = mdb_get(txn, dbi(table), &stored_key, &stored);
  std::string_view list;
  if (code == 0) {
    QR_ASSIGN_OR_RETURN(list, Checked(table, stem, FromVal(stored)));
  } else if (code != MDB_NOTFOUND) {
    return Error("get", code);
  }
  const std::string changed = ChangedGroup(list, key.substr(kLongKeyBytes), value);
  if (changed.empty()) return DeleteRecord(txn, table, stem);
  CursorHolder cursor;
  code = mdb_cursor_open(txn, dbi(table), cursor.out());
  if (code != 0) return Error("open cursor", code);
  return PutRecord(cursor.get(), table, stem, changed, 0);
}

bool LmdbEnv::CopyPlace::Covers(Table of, std::string_view key) const {
  const auto number = static_cast<size_t>(of);
  return number < table || (number == table && key.substr(0, kLongKeyBytes) <= last);
}

absl::Status LmdbEnv::CopySome(const LmdbEnv& from, uint64_t bytes_max, CopyPlace* place) {
  QR_ASSIGN_OR_RETURN(const ReadTxn source, from.BeginRead());
  MDB_txn* raw = nullptr;
  int code = mdb_txn_begin(env_, nullptr, 0, &raw);
  if (code != 0) return Error("begin", code);
  WriteTxn txn(raw);
  while (!place->complete() && bytes_max > 0) {
    QR_RETURN_IF_ERROR(CopyTable(txn.get(), source, &bytes_max, place));
  }
  code = txn.Commit();
  if (code != 0) return Error("commit", code);
  return UpdateSizes();
}

absl::Status LmdbEnv::CopyTable(MDB_txn* txn, const ReadTxn& from, uint64_t* bytes_left,
                                CopyPlace* place) const {
  const auto table = static_cast<Table>(place->table);
  CursorHolder source;
  int code = mdb_cursor_open(from.txn_, from.env_->dbi(table), source.out());
  if (code != 0) return from.env_->Error("open cursor", code);
  CursorHolder target;
  code = mdb_cursor_open(txn, dbi(table), target.out());
  if (code != 0) return Error("open cursor", code);
  MDB_val key = ToVal(place->last);
  MDB_val stored;
  code =
      mdb_cursor_get(source.get(), &key, &stored, place->last.empty() ? MDB_FIRST : MDB_SET_RANGE);
  if (code == 0 && FromVal(key) == place->last) {
    code = mdb_cursor_get(source.get(), &key, &stored, MDB_NEXT);
  }
  for (; code == 0 && *bytes_left > 0;
       code = mdb_cursor_get(source.get(), &key, &stored, MDB_NEXT)) {
    QR_RETURN_IF_ERROR(from.env_->Checked(table, FromVal(key), FromVal(stored)).status());
    const int put = mdb_cursor_put(target.get(), &key, &stored, MDB_APPEND);
    if (put != 0) return Error("copy", put);
    place->last.assign(FromVal(key));
    *bytes_left -= std::min<uint64_t>(*bytes_left, key.mv_size + stored.mv_size);
  }
  if (code != 0 && code != MDB_NOTFOUND) return from.env_->Error("scan", code);
  if (code == MDB_NOTFOUND) *place = {place->table + 1, {}};
  return absl::OkStatus();
}

}  // namespace quorate::kv
