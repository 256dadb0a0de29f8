#include "engine/mvcc/store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

// etcd's keys in bucket meta; the values are 17-byte revision keys with sub 0.
constexpr std::string_view kScheduledCompactRev = "scheduledCompactRev";
constexpr std::string_view kFinishedCompactRev = "finishedCompactRev";

}  // namespace

MvccStore::MvccStore(const EngineOptions& options, const kv::KvBackend* backend, Lessor* lessor)
    : backend_(backend),
      lessor_(lessor),
      index_(options.allocator),
      window_({.chunk_bytes = options.chunk_bytes}, options.allocator) {}

// --- start

void MvccStore::Restored(const RecordRef& ref, std::string_view bytes) {
  const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(bytes);
  QR_CHECK(kv);  // the caller looked
  index_.Add(kv->key, ref, {kv->create_revision, kv->version, kv->lease});
  current_ = std::max(current_, ref.revision.main);
}

absl::Status MvccStore::Restore(absl::FunctionRef<void(uint64_t)> progress) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> snapshot, backend_->NewSnapshot());
  uint64_t records = 0;
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      snapshot->Scan(kv::Table::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
        const std::optional<ParsedRevisionKey> parsed = ParseRevisionKey(key);
        const std::optional<wire::KeyValue> pair = wire::ParseKeyValue(value);
        if (!parsed || !pair || pair->key.empty()) {
          damage = absl::DataLossError(
              StrCat("table key: the record after revision ", current_,
                     " cannot be read; restore the data directory from a backup"));
          return false;
        }
        Restored({parsed->revision, static_cast<uint32_t>(value.size()), parsed->kind}, value);
        if (++records % 65536 == 0) progress(records);
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  progress(records);
  // Attachments follow from the live pairs. A lease that was revoked took its keys with it in the
  // same entry, so every lease that is named is there.
  index_.Walk(KeyInterval::Of({}, {"\0", 1}), [&](const KeyEntry& entry) {
    if (entry.live() && entry.lease != 0) lessor_->Attach(LeaseId(entry.lease), entry.key());
    return true;
  });
  return RestoreCompactionMarks();
}

absl::Status MvccStore::RestoreCompactionMarks() {
  const std::string_view keys[] = {kScheduledCompactRev, kFinishedCompactRev};
  int64_t marks[] = {-1, -1};
  QR_RETURN_IF_ERROR(
      backend_->Read(kv::Table::kMeta, keys, [&](size_t i, std::optional<std::string_view> value) {
        if (!value) return;
        if (const auto parsed = ParseRevisionKey(*value)) marks[i] = parsed->revision.main;
      }));
  const auto [scheduled, finished] = marks;
  current_ = std::max({current_, scheduled, finished});
  compacted_ = std::max(scheduled, finished);
  physically_compacted_ = finished_revision_ = finished;
  if (scheduled > finished) ScheduleCompaction(scheduled);
  return absl::OkStatus();
}

// --- writing

void MvccStore::Begin() {
  QR_CHECK(events_ == nullptr);
  sub_ = 0;
  events_ = std::make_shared<EventBatch>();
  events_->revision = current_ + 1;
}

void MvccStore::AddEvent(const RecordRef& ref, std::string_view key, std::string_view kv,
                         std::optional<RecordRef> previous) {
  if (events_->pins.empty()) events_->pins.push_back(window_.PinOpen());
  events_->events.push_back({ref, key, kv, previous});
}

void MvccStore::Put(std::string_view key, std::string_view value, LeaseId lease) {
  const KeyEntry* before = index_.Find(key);
  const bool lived = before != nullptr && before->live();
  const int64_t main = current_ + 1;
  wire::KeyValue kv{key,   lived ? before->create_revision : main,
                    main,  lived ? before->version + 1 : 1,
                    value, lease.value()};
  const RecordRef ref{
      {main, sub_++}, static_cast<uint32_t>(wire::KeyValueBytes(kv)), RecordKind::kPut};
  char* memory = window_.AddRecord(ref);
  wire::WriteKeyValue(memory, kv);
  const std::string_view encoded(memory, ref.kv_bytes);
  const std::string_view stored_key = wire::ParseKeyValue(encoded)->key;
  std::optional<RecordRef> previous;
  if (lived) previous = before->newest.Unpack();
  const int64_t old_lease = lived ? before->lease : 0;
  index_.Add(stored_key, ref, {kv.create_revision, kv.version, kv.lease});
  if (old_lease != 0 && old_lease != lease.value()) lessor_->Detach(LeaseId(old_lease), stored_key);
  if (lease.value() != 0 && old_lease != lease.value()) lessor_->Attach(lease, stored_key);
  AddEvent(ref, stored_key, encoded, previous);
  put_bytes_ += key.size() + value.size();
}

int64_t MvccStore::DeleteRange(const KeyInterval& interval) {
  // Collected first: adding tombstones changes entries under the walk.
  std::vector<const KeyEntry*> doomed;
  index_.Walk(interval, [&](const KeyEntry& entry) {
    if (entry.live()) doomed.push_back(&entry);
    return true;
  });
  const int64_t main = current_ + 1;
  for (const KeyEntry* entry : doomed) {
    const RecordRef previous = entry->newest.Unpack();
    const LeaseId lease(entry->lease);
    const std::string_view key = entry->key();
    const wire::KeyValue stored{.key = key};
    const RecordRef ref{
        {main, sub_++}, static_cast<uint32_t>(wire::KeyValueBytes(stored)), RecordKind::kTombstone};
    wire::WriteKeyValue(window_.AddRecord(ref), stored);
    // Watchers see the key and the revision of its deletion; the store keeps the key alone.
    const wire::KeyValue seen{.key = key, .mod_revision = main};
    const uint64_t seen_bytes = wire::KeyValueBytes(seen);
    char* memory = window_.Scratch(seen_bytes);
    wire::WriteKeyValue(memory, seen);
    const std::string_view encoded(memory, seen_bytes);
    if (lease.value() != 0) lessor_->Detach(lease, key);
    AddEvent(ref, wire::ParseKeyValue(encoded)->key, encoded, previous);
    index_.Add(key, ref, {});
  }
  return static_cast<int64_t>(doomed.size());
}

EventBatchPtr MvccStore::End() {
  std::shared_ptr<EventBatch> batch = std::exchange(events_, nullptr);
  if (sub_ == 0) return nullptr;
  ++current_;
  sub_ = 0;
  return batch;
}

// --- reading

absl::Status MvccStore::Read(
    std::span<const RecordRef> refs,
    absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const {
  // Runs of records that are all in the backend are read together.
  std::vector<RevisionKey> keys;
  std::vector<std::string_view> views;
  size_t first = 0;
  const auto read_run = [&](size_t end) -> absl::Status {
    if (keys.empty()) return absl::OkStatus();
    views.clear();
    for (const RevisionKey& key : keys) views.push_back(key.view());
    absl::Status status = backend_->Read(
        kv::Table::kKey, views,
        [&](size_t i, std::optional<std::string_view> value) { visitor(first + i, value); });
    keys.clear();
    first = end;
    return status;
  };
  for (size_t i = 0; i < refs.size(); ++i) {
    const std::optional<std::string_view> found = window_.Find(refs[i].revision);
    if (!found) {
      if (keys.empty()) first = i;
      keys.emplace_back(refs[i].revision, refs[i].kind);
      continue;
    }
    QR_RETURN_IF_ERROR(read_run(i));
    visitor(i, found);
  }
  return read_run(refs.size());
}

std::string MvccStore::ReadOne(const RecordRef& ref) const {
  std::string out;
  bool found = false;
  const absl::Status status = Read({&ref, 1}, [&](size_t, std::optional<std::string_view> kv) {
    found = kv.has_value();
    if (found) out.assign(*kv);
  });
  QR_CHECK_MSG(status.ok() && found,
               StrCat("the record of revision ", ref.revision.main, ".", ref.revision.sub,
                      " is in the index and not in the backend: ", status.message()));
  return out;
}

std::vector<RecordRef> MvccStore::LiveRefs(const KeyInterval& interval, int64_t main,
                                           uint64_t limit) const {
  std::vector<RecordRef> refs;
  index_.Walk(interval, [&](const KeyEntry& entry) {
    if (const auto ref = KeyIndex::LiveAt(entry, main)) refs.push_back(*ref);
    return limit == 0 || refs.size() < limit;
  });
  return refs;
}

LiveSums MvccStore::LiveSumsAt(const KeyInterval& interval, int64_t main) const {
  if (main >= current_ + (changed() ? 1 : 0)) return index_.Within(interval);
  LiveSums sums;
  index_.Walk(interval, [&](const KeyEntry& entry) {
    if (const auto ref = KeyIndex::LiveAt(entry, main)) {
      ++sums.keys;
      sums.framed_bytes += wire::FramedBytes(ref->kv_bytes);
    }
    return true;
  });
  return sums;
}

namespace {

// Records of the backend's snapshot, then those of the window that it does not have.
class SnapshotHistory final : public HistoryReader {
 public:
  SnapshotHistory(std::unique_ptr<kv::KvSnapshot> snapshot,
                  std::vector<std::shared_ptr<const WindowChunk>> chunks)
      : snapshot_(std::move(snapshot)), chunks_(std::move(chunks)) {
    // The last chunk is still being filled: its list of records is copied, their bytes stay.
    const auto records = chunks_.back()->records();
    open_records_.assign(records.begin(), records.end());
  }

  absl::Status Scan(
      int64_t first_main, int64_t last_main,
      absl::FunctionRef<bool(const RecordRef&, std::string_view)> visitor) const override {
    const Revision window_begin = FirstInWindow();
    const RevisionKey begin({first_main, 0}, RecordKind::kPut);
    const Revision end_revision = std::min(window_begin, Revision{Next(last_main), 0});
    const RevisionKey end(end_revision, RecordKind::kPut);
    bool go_on = true;
    absl::Status damage;
    if (begin.view() < end.view()) {
      QR_RETURN_IF_ERROR(snapshot_->Scan(
          kv::Table::kKey, begin.view(), end.view(),
          [&](std::string_view key, std::string_view kv) {
            const auto parsed = ParseRevisionKey(key);
            if (!parsed) {
              damage = absl::DataLossError("table key: a key has not the form of a revision");
              return false;
            }
            go_on = visitor({parsed->revision, static_cast<uint32_t>(kv.size()), parsed->kind}, kv);
            return go_on;
          }));
    }
    QR_RETURN_IF_ERROR(damage);
    for (size_t i = 0; go_on && i < chunks_.size(); ++i) {
      const bool last = i + 1 == chunks_.size();
      const std::span<const WindowRecord> records =
          last ? std::span<const WindowRecord>(open_records_) : chunks_[i]->records();
      for (const WindowRecord& record : records) {
        if (record.ref.revision.main < first_main) continue;
        if (record.ref.revision.main > last_main) return absl::OkStatus();
        go_on = visitor(record.ref, record.kv);
        if (!go_on) break;
      }
    }
    return absl::OkStatus();
  }

 private:
  static int64_t Next(int64_t main) { return main == INT64_MAX ? main : main + 1; }

  // What the window holds is taken from there alone, though the backend may have some of it.
  Revision FirstInWindow() const {
    for (size_t i = 0; i < chunks_.size(); ++i) {
      const bool last = i + 1 == chunks_.size();
      if (last && !open_records_.empty()) return open_records_.front().ref.revision;
      if (!last && !chunks_[i]->records().empty()) {
        return chunks_[i]->records().front().ref.revision;
      }
    }
    return {INT64_MAX, 0};
  }

  const std::unique_ptr<kv::KvSnapshot> snapshot_;
  const std::vector<std::shared_ptr<const WindowChunk>> chunks_;
  std::vector<WindowRecord> open_records_;
};

}  // namespace

std::unique_ptr<HistoryReader> MvccStore::NewHistoryReader() const {
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> snapshot = backend_->NewSnapshot();
  QR_CHECK_MSG(snapshot.ok(), ToStd(snapshot.status().message()));
  return std::make_unique<SnapshotHistory>(*std::move(snapshot), window_.Chunks());
}

// --- compaction

void MvccStore::ScheduleCompaction(int64_t revision) {
  compacted_ = revision;
  compaction_target_ = revision;
  compaction_resume_.clear();
  compaction_running_ = true;
  window_.Put(kv::Table::kMeta, kScheduledCompactRev,
              RevisionKey({revision, 0}, RecordKind::kPut).view());
}

bool MvccStore::CompactionPending() const {
  // A pinned read below the target holds the deletions back.
  return compaction_running_ && (pins_.empty() || *pins_.begin() >= compaction_target_);
}

bool MvccStore::CompactSlice(uint32_t steps) {
  if (!CompactionPending()) return false;
  const bool more =
      index_.Compact(compaction_target_, steps, &compaction_resume_, [this](const RecordRef& ref) {
        window_.Delete(kv::Table::kKey, RevisionKey(ref.revision, ref.kind).view());
        ++compacted_keys_;
      });
  if (!more) {
    compaction_running_ = false;
    finished_revision_ = compaction_target_;
    window_.Put(kv::Table::kMeta, kFinishedCompactRev,
                RevisionKey({compaction_target_, 0}, RecordKind::kPut).view());
    finished_sequence_ = window_.open_sequence();
  }
  window_.EndStep();
  return more;
}

void MvccStore::Flushed(uint64_t sequence) {
  window_.Flushed(sequence);
  if (finished_revision_ > physically_compacted_ && sequence >= finished_sequence_) {
    physically_compacted_ = finished_revision_;
  }
}

}  // namespace quorate::engine
