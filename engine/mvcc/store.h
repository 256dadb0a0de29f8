// MvccStore: the multi-version store: index, revision window and backend behind one face. Changes
// come in write transactions of one main revision each; reads see any revision that is not
// compacted. Replica thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "engine/engine.h"
#include "engine/lease/lessor.h"
#include "engine/mvcc/event_pool.h"
#include "engine/mvcc/key_index.h"
#include "engine/mvcc/record.h"
#include "engine/mvcc/window.h"

namespace quorate::engine {

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
  // The same at a place found before, with nothing changed in between.
  void PutAt(KeyIndex::Place* place, std::string_view key, std::string_view value, LeaseId lease);
  // Live keys of the interval are deleted in key order; answers how many.
  int64_t DeleteRange(const KeyInterval& interval);
  // Null when nothing changed.
  EventBatchPtr End();

  // --- reads
  absl::Status Read(
      std::span<const RecordRef> refs,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override;
  // Records that the index names and that must therefore be there: CHECKs so.
  void ReadAll(std::span<const RecordRef> refs,
               absl::FunctionRef<void(size_t, std::string_view)> visitor) const;
  std::string ReadOne(const RecordRef& ref) const;
  // Live records of the interval at `main`, in key order, up to `limit` (0 = all).
  std::vector<RecordRef> LiveRefs(const KeyInterval& interval, int64_t main, uint64_t limit) const;
  absl::StatusOr<std::unique_ptr<HistoryReader>> NewHistoryReader() const;

  // --- compaction (store_compact.cc)
  void ScheduleCompaction(int64_t revision);
  bool CompactionPending() const;
  bool compacting() const { return !compactions_.empty(); }  // some deletions are to be made
  bool CompactSlice(uint32_t steps);
  int64_t PhysicallyCompacted() const { return physically_compacted_; }
  void Flushed(uint64_t sequence);
  // While pinned, records needed at `main` stay.
  void Pin(int64_t main) { pins_.insert(main); }
  void Unpin(int64_t main) { pins_.erase(pins_.find(main)); }
  bool pinned() const { return !pins_.empty(); }
  // The compaction that CompactSlice would begin next, with its whole history still there.
  struct Compaction {
    int64_t revision = -1;
    int64_t previous = -1;  // the one before
  };
  std::optional<Compaction> NextCompaction() const;

  uint64_t compacted_keys() const { return compacted_keys_; }
  uint64_t put_bytes() const { return put_bytes_; }

 private:
  absl::Status RestoreRecord(std::string_view key, std::string_view value);
  absl::Status RestoreCompactionMarks();
  void AddEvent(const RecordRef& ref, std::string_view key, std::string_view kv,
                const std::optional<RecordRef>& previous);
  void AddTombstone(const KeyEntry& entry);
  void MoveLease(std::string_view key, LeaseId from, LeaseId to);
  bool PinnedBelow(int64_t main) const { return !pins_.empty() && *pins_.begin() < main; }

  const kv::KvBackend* const backend_;
  Lessor* const lessor_;
  KeyIndex index_;
  Window window_;
  const std::shared_ptr<EventPool> event_pool_;
  int64_t current_ = 1;
  int64_t compacted_ = -1;

  int64_t sub_ = 0;  // changes so far in the running transaction
  std::shared_ptr<EventBatch> events_;
  mutable std::vector<std::string_view> read_keys_;  // of one run of Read

  std::deque<Compaction> compactions_;  // scheduled and not finished, in order
  bool compaction_begun_ = false;       // of the first one
  std::string compaction_resume_;
  struct Finished {
    int64_t revision;
    uint64_t sequence;  // chunk that carries the end of it
  };
  std::deque<Finished> finished_;  // deletions are in the window, not all flushed
  int64_t physically_compacted_ = -1;
  std::multiset<int64_t> pins_;
  uint64_t compacted_keys_ = 0;
  uint64_t put_bytes_ = 0;
};

}  // namespace quorate::engine
