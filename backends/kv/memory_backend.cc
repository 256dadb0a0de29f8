#include "backends/kv/memory_backend.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/kv/checkpoint_store.h"
#include "backends/kv/plain_allocator.h"
#include "backends/kv/table_set.h"
#include "backends/kv/write_check.h"
#include "base/check.h"
#include "base/status_util.h"

namespace quorate::kv {
namespace {

constexpr uint64_t kFrameBytes = 1 << 20;  // of a rewrite

// The smallest key above `key`.
std::string KeyBehind(std::string_view key) {
  std::string behind(key);
  behind.push_back('\0');
  return behind;
}

class MemorySnapshot final : public KvSnapshot {
 public:
  explicit MemorySnapshot(std::shared_ptr<TableSet> tables)
      : tables_(std::move(tables)), pin_(tables_->PinLatest()) {}
  ~MemorySnapshot() override {
    pin_ = TableSet::Pin();
    tables_->Collect();
  }

  absl::Status Scan(Table table, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor)
      const override {
    TreeScan(pin_->root(table), begin, end, visitor);
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<TableSet> tables_;
  TableSet::Pin pin_;
};

class MemoryBackend final : public KvBackend {
 public:
  MemoryBackend(Allocator* allocator, const MemoryTuning& tuning)
      : tuning_(tuning), tables_(std::make_shared<TableSet>(allocator)) {}

  absl::Status Open(const KvOptions& options) {
    tables_->Begin();
    auto store = CheckpointStore::Open(options.env, options.dir,
                                       [this](const WriteOp& op) { tables_->Apply(op); });
    tables_->Commit();
    QR_RETURN_IF_ERROR(store.status());
    store_ = std::move(*store);
    UpdateSizes();
    return absl::OkStatus();
  }

  const KvTraits& traits() const override { return kMemoryTraits; }

  absl::Status Write(std::span<const WriteOp> batch) override {
    QR_RETURN_IF_ERROR(failed_);
    QR_RETURN_IF_ERROR(CheckBatch(batch));
    if (batch.empty()) return absl::OkStatus();
    const uint64_t bytes_before = store_->bytes();
    QR_RETURN_IF_ERROR(Remember(store_->Append(batch)));
    tables_->Begin();
    for (const WriteOp& op : batch) tables_->Apply(op);
    tables_->Commit();
    const uint64_t written = store_->bytes() - bytes_before;
    return Remember(RewriteSome(std::clamp(written * tuning_.slice_per_written_byte,
                                           tuning_.slice_bytes_min, tuning_.slice_bytes_max)));
  }

  absl::Status Sync() override {
    QR_RETURN_IF_ERROR(failed_);
    QR_RETURN_IF_ERROR(Remember(store_->Sync()));
    return Remember(RewriteSome(tuning_.slice_bytes_min));
  }

  absl::StatusOr<ReclaimProgress> ReclaimStep() override {
    QR_RETURN_IF_ERROR(failed_);
    if (!reclaimed_at_.has_value()) {
      tables_->Collect();
      // One that has begun would keep what was superseded since: finish it, then do a whole one.
      reclaimed_at_ = rewrites_ended_ + (store_->rewriting() ? 2 : 1);
    }
    if (rewrites_ended_ < *reclaimed_at_) {
      if (!store_->rewriting()) QR_RETURN_IF_ERROR(Remember(BeginRewrite()));
      if (store_->rewriting()) QR_RETURN_IF_ERROR(Remember(RewriteSome(tuning_.slice_bytes_max)));
    }
    if (rewrites_ended_ < *reclaimed_at_) return ReclaimProgress::kMore;
    reclaimed_at_.reset();
    return ReclaimProgress::kDone;
  }

  absl::Status Read(Table table, std::span<const std::string_view> keys,
                    absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)>
                        visitor) const override {
    const TableSet::Pin pin = tables_->PinLatest();
    for (size_t i = 0; i < keys.size(); ++i) visitor(i, TreeFind(pin->root(table), keys[i]));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<KvSnapshot>> NewSnapshot() const override {
    return std::make_unique<MemorySnapshot>(tables_);
  }

  KvSizes Sizes() const override {
    const uint64_t on_disk = on_disk_.load(std::memory_order_relaxed);
    return {on_disk, std::min(on_disk, in_use_.load(std::memory_order_relaxed))};
  }

 private:
  absl::Status Remember(absl::Status status) {
    if (!status.ok()) failed_ = status;
    UpdateSizes();
    return status;
  }

  uint64_t LiveBytes() const {
    const TreeTotals& totals = tables_->totals();
    return static_cast<uint64_t>(totals.payload_bytes) +
           static_cast<uint64_t>(totals.records) * kOpOverheadBytes + kFileHeadBytes;
  }

  void UpdateSizes() {
    on_disk_.store(store_->bytes(), std::memory_order_relaxed);
    in_use_.store(LiveBytes(), std::memory_order_relaxed);
  }

  absl::Status BeginRewrite() {
    QR_RETURN_IF_ERROR(store_->BeginRewrite());
    cursor_table_ = 0;
    cursor_key_.clear();
    // Keys that are added from now on are in the new delta, which is replayed over the base.
    const TableSet::Pin pin = tables_->PinLatest();
    for (size_t i = 0; i < kTableCount; ++i) {
      const auto last = TreeLastKey(pin->root(static_cast<Table>(i)));
      rewrite_ends_[i] = last.has_value() ? KeyBehind(*last) : std::string();
    }
    if (!store_->rewriting()) GaveUp();
    return absl::OkStatus();
  }

  // The disk was too full for a rewrite.
  void GaveUp() {
    garbage_bytes_wait_ = store_->bytes();
    ++rewrites_ended_;
  }

  bool RewriteIsDue() const {
    const uint64_t bytes = store_->bytes();
    const uint64_t live = LiveBytes();
    // After a full disk: not again before the files have grown by an eighth.
    if (bytes < garbage_bytes_wait_ + garbage_bytes_wait_ / 8) return false;
    return bytes > live && bytes - live >= std::max(live, tuning_.garbage_bytes_min);
  }

  // Brings a rewrite on by about `bytes`; begins one when it is due.
  absl::Status RewriteSome(uint64_t bytes) {
    if (!store_->rewriting()) {
      if (!RewriteIsDue()) return absl::OkStatus();
      QR_RETURN_IF_ERROR(BeginRewrite());
    }
    uint64_t done = 0;
    while (store_->rewriting() && done < bytes) {
      if (cursor_table_ == kTableCount) {
        garbage_bytes_wait_ = 0;
        ++rewrites_ended_;
        return store_->FinishRewrite();
      }
      QR_RETURN_IF_ERROR(RewriteFrame(std::min(bytes - done, kFrameBytes), &done));
    }
    return absl::OkStatus();
  }

  // Writes records that follow the cursor in the latest state, of one table, as one frame.
  absl::Status RewriteFrame(uint64_t bytes_max, uint64_t* done) {
    const auto table = static_cast<Table>(cursor_table_);
    const TableSet::Pin pin = tables_->PinLatest();
    const std::string& end = rewrite_ends_[cursor_table_];
    uint64_t bytes = 0;
    puts_.clear();
    const auto take = [&](std::string_view key, std::string_view value) {
      if (bytes >= bytes_max) return false;
      puts_.push_back({WriteOp::Kind::kPut, table, key, value});
      bytes += key.size() + value.size() + kOpOverheadBytes;
      return true;
    };
    // An empty end stands for a table that was empty.
    const bool complete = end.empty() || TreeScan(pin->root(table), cursor_key_, end, take);
    if (!puts_.empty()) {
      QR_RETURN_IF_ERROR(store_->RewriteSlice(puts_));
      *done += bytes;
    }
    if (!store_->rewriting()) {
      GaveUp();
      return absl::OkStatus();
    }
    if (complete) {
      ++cursor_table_;
      cursor_key_.clear();
    } else {
      cursor_key_ = KeyBehind(puts_.back().key);
    }
    return absl::OkStatus();
  }

  const MemoryTuning tuning_;
  const std::shared_ptr<TableSet> tables_;
  std::unique_ptr<CheckpointStore> store_;
  absl::Status failed_;
  std::atomic<uint64_t> on_disk_{0};
  std::atomic<uint64_t> in_use_{0};

  // The rewrite: what it writes next.
  size_t cursor_table_ = 0;
  std::string cursor_key_;
  std::array<std::string, kTableCount> rewrite_ends_;  // where each table ended when it began
  std::vector<WriteOp> puts_;
  uint64_t garbage_bytes_wait_ = 0;  // size of the files when the disk was too full for a rewrite
  uint64_t rewrites_ended_ = 0;      // finished or given up
  std::optional<uint64_t> reclaimed_at_;  // a reclaim is done when so many have ended
};

}  // namespace

const KvTraits kMemoryTraits = {
    .name = "memory",
    .summary = "ordered tables in RAM with append-only checkpoints on disk",
    .data_in_memory = true,
};

absl::StatusOr<std::unique_ptr<KvBackend>> OpenMemoryBackend(const KvOptions& options,
                                                             const MemoryTuning& tuning) {
  KvOptions filled = options;
  if (filled.env == nullptr) filled.env = PosixFileEnv();
  if (filled.allocator == nullptr) filled.allocator = PlainAllocator();
  auto backend = std::make_unique<MemoryBackend>(filled.allocator, tuning);
  QR_RETURN_IF_ERROR(backend->Open(filled));
  return backend;
}

std::vector<std::string> FindMemoryDamage(const KvOptions& options) {
  return CheckpointStore::FindDamage(options.env != nullptr ? options.env : PosixFileEnv(),
                                     options.dir);
}

}  // namespace quorate::kv
