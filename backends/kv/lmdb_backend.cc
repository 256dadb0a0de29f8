#include "backends/kv/lmdb_backend.h"

#include <charconv>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backends/kv/folder_swap.h"
#include "backends/kv/lmdb_env.h"
#include "backends/kv/plain_allocator.h"
#include "backends/kv/table_set.h"
#include "backends/kv/write_check.h"
#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kEnvPrefix = "env-";
constexpr std::string_view kCopyName = "copy.tmp";
constexpr uint64_t kReclaimStepBytes = 2 << 20;
constexpr size_t kDamagesMax = 1000;  // told
// What a delete counts for when the overlay is measured: it is short, but as much work as a put.
constexpr int64_t kDeleteWeightBytes = 256;

std::string EnvName(uint64_t number) {
  char digits[32];
  std::snprintf(digits, sizeof(digits), "%06llu", static_cast<unsigned long long>(number));
  return StrCat(kEnvPrefix, digits);
}

// 0 when `name` is not the folder of an environment.
uint64_t EnvNumber(std::string_view name) {
  if (!name.starts_with(kEnvPrefix)) return 0;
  name.remove_prefix(kEnvPrefix.size());
  uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  return parsed.ptr == name.data() + name.size() ? number : 0;
}

// 0 when there is none.
uint64_t LatestEnvNumber(const std::vector<std::string>& names) {
  uint64_t latest = 0;
  for (const std::string& name : names) latest = std::max(latest, EnvNumber(name));
  return latest;
}

bool IsPut(std::string_view tagged) {
  return tagged.front() == static_cast<char>(OverlayTag::kPut);
}

// One consistent state: what the overlay holds goes before what the LMDB holds.
struct View {
  TableSet::Pin overlay;
  std::shared_ptr<LmdbEnv> env;
  LmdbEnv::ReadTxn txn;
};

absl::Status ScanView(const View& view, Table table, std::string_view begin, std::string_view end,
                      absl::FunctionRef<bool(std::string_view, std::string_view)> visitor) {
  if (!end.empty() && begin >= end) return absl::OkStatus();
  LmdbCursor stored(view.txn, table);
  stored.Seek(begin);
  const auto visit_stored_before = [&](std::string_view key) {
    for (; stored.valid() && (key.empty() || stored.key() < key); stored.Next()) {
      if (!visitor(stored.key(), stored.value())) return false;
    }
    return stored.status().ok();
  };
  const bool go_on = TreeScan(view.overlay->root(table), begin, end,
                              [&](std::string_view key, std::string_view tagged) {
                                if (!visit_stored_before(key)) return false;
                                if (stored.valid() && stored.key() == key) stored.Next();
                                return !IsPut(tagged) || visitor(key, tagged.substr(1));
                              });
  if (go_on) visit_stored_before(end);
  return stored.status();
}

class LmdbSnapshot final : public KvSnapshot {
 public:
  LmdbSnapshot(std::shared_ptr<TableSet> overlay, View view)
      : overlay_(std::move(overlay)), view_(std::move(view)) {}
  ~LmdbSnapshot() override {
    view_.overlay = TableSet::Pin();
    overlay_->Collect();
  }

  absl::Status Scan(Table table, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor)
      const override {
    return ScanView(view_, table, begin, end, visitor);
  }

 private:
  const std::shared_ptr<TableSet> overlay_;
  View view_;
};

class LmdbBackend final : public KvBackend {
 public:
  LmdbBackend(const KvOptions& options, Allocator* allocator)
      : dir_(options.dir),
        map_bytes_max_(options.map_bytes_max),
        overlay_bytes_max_(static_cast<int64_t>(options.memtable_bytes / 2)),
        overlay_(std::make_shared<TableSet>(allocator)) {}

  absl::Status Open() {
    FileEnv* files = PosixFileEnv();
    QR_ASSIGN_OR_RETURN(lock_, files->Lock(dir_ + "/LOCK"));
    QR_RETURN_IF_ERROR(RemoveTree(PosixFileEnv(), PathOf(kCopyName)));
    QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(dir_));
    number_ = LatestEnvNumber(names);
    for (const std::string& name : names) {
      const uint64_t number = EnvNumber(name);
      if (number != 0 && number < number_)
        QR_RETURN_IF_ERROR(RemoveTree(PosixFileEnv(), PathOf(name)));
    }
    if (number_ == 0) {
      QR_RETURN_IF_ERROR(files->MakeDirs(PathOf(EnvName(1))));
      QR_RETURN_IF_ERROR(files->SyncDir(dir_));
      number_ = 1;
    }
    QR_ASSIGN_OR_RETURN(env_, LmdbEnv::Open(PathOf(EnvName(number_)), map_bytes_max_));
    return files->SyncDir(PathOf(EnvName(number_)));
  }

  const KvTraits& traits() const override { return kLmdbTraits; }

  absl::Status Write(std::span<const WriteOp> batch) override {
    QR_RETURN_IF_ERROR(failed_);
    QR_RETURN_IF_ERROR(CheckBatch(batch));
    if (batch.empty()) return absl::OkStatus();
    overlay_->Begin();
    absl::Status status;
    for (const WriteOp& op : batch) {
      status = Overlay(op);
      if (!status.ok()) break;
    }
    overlay_->Commit();
    QR_RETURN_IF_ERROR(Remember(std::move(status)));
    const int64_t bytes = overlay_->totals().payload_bytes;
    overlay_bytes_.store(bytes, std::memory_order_relaxed);
    return bytes + deletes_ * kDeleteWeightBytes < overlay_bytes_max_ ? absl::OkStatus() : Flush();
  }

  absl::Status Sync() override {
    QR_RETURN_IF_ERROR(failed_);
    return Flush();
  }

  // A copy without free pages is made slice by slice; meanwhile every flush goes to both. When all
  // of the content is in the copy it takes the place of the original.
  absl::StatusOr<ReclaimProgress> ReclaimStep() override {
    QR_RETURN_IF_ERROR(failed_);
    absl::Status status = std::exchange(copy_failed_, absl::OkStatus());
    if (status.ok() && copy_ == nullptr) status = BeginCopy();
    if (status.ok()) status = copy_->CopySome(*env_, kReclaimStepBytes, &copied_);
    if (!status.ok()) {
      DropCopy();
      return status;
    }
    if (!copied_.complete()) return ReclaimProgress::kMore;
    copy_.reset();
    QR_RETURN_IF_ERROR(Remember(SwitchTo(PathOf(kCopyName))));
    return ReclaimProgress::kDone;
  }

  absl::Status Read(Table table, std::span<const std::string_view> keys,
                    absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)>
                        visitor) const override {
    QR_ASSIGN_OR_RETURN(const View view, TakeView());
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto changed = TreeFind(view.overlay->root(table), keys[i]);
      std::optional<std::string_view> value;
      if (!changed.has_value()) {
        QR_RETURN_IF_ERROR(view.env->Get(view.txn, table, keys[i], &value));
      } else if (IsPut(*changed)) {
        value = changed->substr(1);
      }
      visitor(i, value);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<KvSnapshot>> NewSnapshot() const override {
    QR_ASSIGN_OR_RETURN(View view, TakeView());
    return std::make_unique<LmdbSnapshot>(overlay_, std::move(view));
  }

  KvSizes Sizes() const override {
    const auto pending = static_cast<uint64_t>(overlay_bytes_.load(std::memory_order_relaxed));
    KvSizes sizes = CurrentEnv()->sizes();
    sizes.on_disk += pending;
    sizes.in_use += pending;
    return sizes;
  }

 private:
  std::string PathOf(std::string_view name) const { return StrCat(dir_, "/", name); }

  absl::Status Remember(absl::Status status) {
    if (!status.ok()) failed_ = status;
    return status;
  }

  std::shared_ptr<LmdbEnv> CurrentEnv() const {
    std::lock_guard lock(mutex_);
    return env_;
  }

  // The transaction is begun after the pin is taken, so it has all that the overlay is laid over;
  // it may have more only if the writer went on meanwhile, and then a later look finds a later
  // overlay. (That the overlay itself has been committed makes no difference: the same changes
  // twice.)
  absl::StatusOr<View> TakeView() const {
    while (true) {
      std::shared_ptr<LmdbEnv> env = CurrentEnv();
      TableSet::Pin pin = overlay_->PinLatest();
      QR_ASSIGN_OR_RETURN(LmdbEnv::ReadTxn txn, env->BeginRead());
      if (overlay_->latest_sequence() == pin->sequence && CurrentEnv() == env) {
        return View{std::move(pin), std::move(env), std::move(txn)};
      }
    }
  }

  absl::Status Overlay(const WriteOp& op) {
    switch (op.kind) {
      case WriteOp::Kind::kPut:
        tagged_.assign(1, static_cast<char>(OverlayTag::kPut));
        tagged_.append(op.value_or_end);
        overlay_->Put(op.table, op.key, tagged_);
        return absl::OkStatus();
      case WriteOp::Kind::kDelete:
        MarkDeleted(op.table, op.key);
        return absl::OkStatus();
      case WriteOp::Kind::kDeleteRange:
        return MarkRangeDeleted(op);
    }
    return absl::OkStatus();
  }

  void MarkDeleted(Table table, std::string_view key) {
    ++deletes_;
    const char tag = static_cast<char>(OverlayTag::kDelete);
    overlay_->Put(table, key, {&tag, 1});
  }

  absl::Status MarkRangeDeleted(const WriteOp& op) {
    const std::string_view end = op.value_or_end;
    if (!end.empty() && op.key >= end) return absl::OkStatus();
    std::vector<std::string> put_keys;
    overlay_->Scan(op.table, op.key, end, [&](std::string_view key, std::string_view tagged) {
      if (IsPut(tagged)) put_keys.emplace_back(key);
      return true;
    });
    for (const std::string& key : put_keys) MarkDeleted(op.table, key);
    QR_ASSIGN_OR_RETURN(const LmdbEnv::ReadTxn txn, env_->BeginRead());
    LmdbCursor stored(txn, op.table);
    for (stored.Seek(op.key); stored.valid() && (end.empty() || stored.key() < end);
         stored.Next()) {
      MarkDeleted(op.table, stored.key());
    }
    return stored.status();
  }

  // Brings the overlay to the disk, as one synced transaction, and empties it.
  absl::Status Flush() {
    if (overlay_->totals().records == 0) return absl::OkStatus();
    {
      const TableSet::Pin pin = overlay_->PinLatest();
      QR_RETURN_IF_ERROR(Remember(env_->Apply(*pin)));
      if (copy_ != nullptr) {
        copy_failed_ = copy_->Apply(*pin, &copied_);
        if (!copy_failed_.ok()) DropCopy();
      }
    }
    overlay_->Begin();
    overlay_->Clear();
    overlay_->Commit();
    overlay_bytes_.store(0, std::memory_order_relaxed);
    deletes_ = 0;
    return absl::OkStatus();
  }

  absl::Status BeginCopy() {
    const std::string path = PathOf(kCopyName);
    QR_RETURN_IF_ERROR(RemoveTree(PosixFileEnv(), path));
    QR_RETURN_IF_ERROR(PosixFileEnv()->MakeDirs(path));
    QR_ASSIGN_OR_RETURN(copy_, LmdbEnv::Open(path, map_bytes_max_));
    copied_ = LmdbEnv::CopyPlace();
    return PosixFileEnv()->SyncDir(path);
  }

  // Nothing has changed but the disk may be full of the copy.
  void DropCopy() {
    copy_.reset();
    RemoveTree(PosixFileEnv(), PathOf(kCopyName)).IgnoreError();
  }

  absl::Status SwitchTo(const std::string& copy) {
    FileEnv* files = PosixFileEnv();
    const std::string old_path = PathOf(EnvName(number_));
    const std::string path = PathOf(EnvName(number_ + 1));
    QR_RETURN_IF_ERROR(files->Rename(copy, path));
    QR_RETURN_IF_ERROR(files->SyncDir(dir_));
    QR_ASSIGN_OR_RETURN(std::shared_ptr<LmdbEnv> env, LmdbEnv::Open(path, map_bytes_max_));
    ++number_;
    {
      std::lock_guard lock(mutex_);
      env_.swap(env);
    }
    // Readers that still have it open keep its content until they let go.
    return RemoveTree(PosixFileEnv(), old_path);
  }

  const std::string dir_;
  const uint64_t map_bytes_max_;
  const int64_t overlay_bytes_max_;
  const std::shared_ptr<TableSet> overlay_;
  std::unique_ptr<FileLock> lock_;
  uint64_t number_ = 0;            // of the current environment
  std::shared_ptr<LmdbEnv> copy_;  // of a reclaim under way
  LmdbEnv::CopyPlace copied_;
  absl::Status copy_failed_;  // outside of a step: the next one tells
  std::string tagged_;
  int64_t deletes_ = 0;  // since the last flush
  absl::Status failed_;
  std::atomic<int64_t> overlay_bytes_{0};

  mutable std::mutex mutex_;
  std::shared_ptr<LmdbEnv> env_;  // changed by the writer, under mutex_
};

}  // namespace

const KvTraits kLmdbTraits = {
    .name = "lmdb",
    .summary = "LMDB: a B+tree in a memory-mapped file, written in large synced transactions",
    .data_in_memory = false,
};

absl::StatusOr<std::unique_ptr<KvBackend>> OpenLmdbBackend(const KvOptions& options) {
  Allocator* allocator = options.allocator != nullptr ? options.allocator : PlainAllocator();
  auto backend = std::make_unique<LmdbBackend>(options, allocator);
  QR_RETURN_IF_ERROR(backend->Open());
  return backend;
}

std::vector<std::string> FindLmdbDamage(const KvOptions& options) {
  const auto told = [](const absl::Status& status) {
    return std::vector<std::string>{std::string(ToStd(status.message()))};
  };
  const auto names = PosixFileEnv()->List(options.dir);
  if (!names.ok()) return told(names.status());
  const std::string dir = StrCat(options.dir, "/", EnvName(LatestEnvNumber(*names)));
  const auto env = LmdbEnv::Open(dir, options.map_bytes_max);
  return env.ok() ? (*env)->FindDamage(kDamagesMax) : told(env.status());
}

}  // namespace quorate::kv
