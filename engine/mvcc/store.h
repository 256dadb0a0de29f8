// MvccStore: the multi-version store: index, revision window and backend behind one face. Changes
// come in write transactions of one main revision each; reads see any revision that is not
// compacted. Replica thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "engine/engine.h"
#include "engine/lease/lessor.h"
#include "engine/mvcc/key_index.h"
#include "engine/mvcc/record.h"
#include "engine/mvcc/window.h"

namespace quorate::engine {

// The newest state, uncommitted changes of a running transaction included.
inline constexpr int64_t kNewest = INT64_MAX;

class MvccStore final : public RecordReader {
 public:
  MvccStore(const EngineOptions& options, const kv::KvBackend* backend, Lessor* lessor);

  // Rebuilds the index from the backend; leases must be restored before.
  absl::Status Restore(absl::FunctionRef<void(uint64_t records)> progress);

  int64_t current_revision() const { return current_; }
  int64_t compact_revision() const { return compacted_; }
  const KeyIndex& index() const { return index_; }
  Window& window() { return window_; }
  const Window& window() const { return window_; }
  const kv::KvBackend& backend() const { return *backend_; }

  // --- one write transaction; Begin and End enclose it
  void Begin();
  bool changed() const { return sub_ != 0; }
  // The revision that an answer shows at this point of the transaction.
  int64_t TransactionRevision() const { return changed() ? current_ + 1 : current_; }
  void Put(std::string_view key, std::string_view value, LeaseId lease);
  // Live keys of the interval are deleted in key order; answers how many.
  int64_t DeleteRange(const KeyInterval& interval);
  // Null when nothing changed.
  EventBatchPtr End();

  // --- reads
  absl::Status Read(
      std::span<const RecordRef> refs,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override;
  // A record that must be there: CHECKs so.
  std::string ReadOne(const RecordRef& ref) const;
  // Live records of the interval at `main`, in key order, up to `limit` (0 = all).
  std::vector<RecordRef> LiveRefs(const KeyInterval& interval, int64_t main, uint64_t limit) const;
  LiveSums LiveSumsAt(const KeyInterval& interval, int64_t main) const;
  std::unique_ptr<HistoryReader> NewHistoryReader() const;

  // --- compaction
  void ScheduleCompaction(int64_t revision);
  bool CompactionPending() const;
  bool CompactSlice(uint32_t steps);
  int64_t PhysicallyCompacted() const { return physically_compacted_; }
  void Flushed(uint64_t sequence);
  // While pinned, records needed at `main` stay.
  void Pin(int64_t main) { pins_.insert(main); }
  void Unpin(int64_t main) { pins_.erase(pins_.find(main)); }

  uint64_t compacted_keys() const { return compacted_keys_; }
  uint64_t put_bytes() const { return put_bytes_; }

 private:
  void Restored(const RecordRef& ref, std::string_view kv);
  absl::Status RestoreCompactionMarks();
  void AddEvent(const RecordRef& ref, std::string_view key, std::string_view kv,
                std::optional<RecordRef> previous);

  const kv::KvBackend* const backend_;
  Lessor* const lessor_;
  KeyIndex index_;
  Window window_;
  int64_t current_ = 1;
  int64_t compacted_ = -1;

  int64_t sub_ = 0;  // changes so far in the running transaction
  std::shared_ptr<EventBatch> events_;

  int64_t compaction_target_ = -1;
  std::string compaction_resume_;
  bool compaction_running_ = false;
  int64_t finished_revision_ = -1;  // index done; deletions are in the window
  uint64_t finished_sequence_ = 0;  // chunk that carries the end of it
  int64_t physically_compacted_ = -1;
  std::multiset<int64_t> pins_;
  uint64_t compacted_keys_ = 0;
  uint64_t put_bytes_ = 0;
};

}  // namespace quorate::engine
