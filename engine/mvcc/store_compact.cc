// MvccStore: compaction. A compaction counts at once for readers; its deletions are made in slices,
// one compaction after the other, and each has a mark before and after in the meta table.
#include "base/check.h"
#include "engine/mvcc/compaction_marks.h"
#include "engine/mvcc/store.h"

namespace quorate::engine {

void MvccStore::ScheduleCompaction(int64_t revision) {
  QR_CHECK(revision > compacted_ && revision <= current_);
  compactions_.push_back({revision, compacted_});
  compacted_ = revision;
  window_.Put(kv::Table::kMeta, kScheduledCompactRev,
              RevisionKey({revision, 0}, RecordKind::kPut).view());
}

bool MvccStore::CompactionPending() const {
  // A pinned read below the target holds the deletions back.
  return !compactions_.empty() && !PinnedBelow(compactions_.front().revision);
}

std::optional<MvccStore::Compaction> MvccStore::NextCompaction() const {
  if (!CompactionPending() || compaction_begun_) return std::nullopt;
  return compactions_.front();
}

bool MvccStore::CompactSlice(uint32_t steps) {
  if (!CompactionPending()) return false;
  const int64_t target = compactions_.front().revision;
  compaction_begun_ = true;
  const bool more =
      index_.Compact(target, steps, &compaction_resume_, [this](const RecordRef& ref) {
        window_.Delete(kv::Table::kKey, RevisionKey(ref.revision, ref.kind).view());
        ++compacted_keys_;
      });
  if (!more) {
    window_.Put(kv::Table::kMeta, kFinishedCompactRev,
                RevisionKey({target, 0}, RecordKind::kPut).view());
    finished_.push_back({target, window_.open_sequence()});
    compactions_.pop_front();
    compaction_resume_.clear();
    compaction_begun_ = false;
  }
  window_.EndStep();
  return CompactionPending();
}

void MvccStore::Flushed(uint64_t sequence) {
  window_.Flushed(sequence);
  while (!finished_.empty() && finished_.front().sequence <= sequence) {
    physically_compacted_ = finished_.front().revision;
    finished_.pop_front();
  }
}

}  // namespace quorate::engine
