#include "engine/mvcc/store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/mvcc/history.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {

MvccStore::MvccStore(const EngineOptions& options, const kv::KvBackend* backend, Lessor* lessor)
    : backend_(backend),
      lessor_(lessor),
      index_(options.allocator),
      window_({.chunk_bytes = options.chunk_bytes}, options.allocator),
      event_pool_(std::make_shared<EventPool>(options.allocator)) {}

// --- writing

void MvccStore::Begin() {
  QR_CHECK(sub_ == 0);
  if (events_ == nullptr) events_ = event_pool_->Take();
  events_->revision = current_ + 1;
}

void MvccStore::AddEvent(const RecordRef& ref, std::string_view key, std::string_view kv,
                         const std::optional<RecordRef>& previous) {
  if (events_->pins.empty()) events_->pins.push_back(window_.PinOpen());
  events_->events.push_back({ref, key, kv, previous});
}

void MvccStore::MoveLease(std::string_view key, LeaseId from, LeaseId to) {
  if (from == to) return;
  if (from.value() != 0) lessor_->Detach(from, key);
  // A lease that is gone can be named here only by ignore_lease over data of another server.
  if (to.value() != 0 && lessor_->Exists(to)) lessor_->Attach(to, key);
}

void MvccStore::Put(std::string_view key, std::string_view value, LeaseId lease) {
  KeyIndex::Place place;
  index_.Locate(key, &place);
  PutAt(&place, key, value, lease);
}

void MvccStore::PutAt(KeyIndex::Place* place, std::string_view key, std::string_view value,
                      LeaseId lease) {
  const KeyEntry* before = place->entry;
  const int64_t main = current_ + 1;
  wire::KeyValue kv{key, main, main, 1, value, lease.value()};
  LeaseId lease_before;
  if (before != nullptr && before->live()) {
    kv.create_revision = before->create_revision;
    kv.version = before->version + 1;
    lease_before = LeaseId(before->lease);
  }
  // Deleted by this transaction and put again: a creation as well, with nothing before it.
  const bool creation = kv.create_revision == main;
  const std::optional<RecordRef> previous = creation ? std::nullopt : before->LiveAt(current_);
  const RecordRef ref{
      {main, sub_++}, static_cast<uint32_t>(wire::KeyValueBytes(kv)), RecordKind::kPut};
  char* memory = window_.AddRecord(ref);
  wire::WriteKeyValue(memory, kv);
  const std::string_view encoded(memory, ref.kv_bytes);
  const std::string_view stored_key = encoded.substr(wire::KeyOffset(key.size()), key.size());
  index_.Add(place, stored_key, ref, {kv.create_revision, kv.version, kv.lease});
  MoveLease(stored_key, lease_before, lease);
  AddEvent(ref, stored_key, encoded, previous);
  put_bytes_ += key.size() + value.size();
}

// The store keeps the key alone; watchers see the revision as well, which follows it.
void MvccStore::AddTombstone(const KeyEntry& entry) {
  const std::string_view key = entry.key();
  const std::optional<RecordRef> previous = entry.LiveAt(current_);
  const LeaseId lease(entry.lease);
  const int64_t main = current_ + 1;
  const wire::KeyValue seen{.key = key, .mod_revision = main};
  const uint64_t seen_bytes = wire::KeyValueBytes(seen);
  const uint64_t stored_bytes = wire::KeyValueBytes({.key = key});
  const RecordRef ref{{main, sub_++}, static_cast<uint32_t>(stored_bytes), RecordKind::kTombstone};
  char* memory = window_.AddRecord(ref, seen_bytes - stored_bytes);
  wire::WriteKeyValue(memory, seen);
  const std::string_view encoded(memory, seen_bytes);
  AddEvent(ref, encoded.substr(wire::KeyOffset(key.size()), key.size()), encoded, previous);
  MoveLease(key, lease, LeaseId());
  index_.Add(key, ref, {});
}

int64_t MvccStore::DeleteRange(const KeyInterval& interval) {
  // Collected first: a walk must not see its index change.
  std::vector<const KeyEntry*> doomed;
  index_.Walk(interval, [&](const KeyEntry& entry) {
    if (entry.live()) doomed.push_back(&entry);
    return true;
  });
  for (const KeyEntry* entry : doomed) AddTombstone(*entry);
  return static_cast<int64_t>(doomed.size());
}

EventBatchPtr MvccStore::End() {
  if (sub_ == 0) return nullptr;
  ++current_;
  sub_ = 0;
  return std::exchange(events_, nullptr);
}

// --- reading

absl::Status MvccStore::Read(
    std::span<const RecordRef> refs,
    absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const {
  // Runs of records that are all in the backend are read together.
  std::vector<RevisionKey> run;
  size_t first = 0;
  const auto read_run = [&]() -> absl::Status {
    if (run.empty()) return absl::OkStatus();
    read_keys_.clear();
    for (const RevisionKey& key : run) read_keys_.push_back(key.view());
    absl::Status status = backend_->Read(
        kv::Table::kKey, read_keys_,
        [&](size_t i, std::optional<std::string_view> value) { visitor(first + i, value); });
    run.clear();
    return status;
  };
  for (size_t i = 0; i < refs.size(); ++i) {
    const std::optional<Window::Found> found = window_.Find(refs[i].revision);
    if (!found) {
      if (run.empty()) {
        first = i;
        run.reserve(refs.size() - i);
      }
      run.emplace_back(refs[i].revision, refs[i].kind);
      continue;
    }
    if (absl::Status status = read_run(); !status.ok()) return status;
    visitor(i, found->kv);
  }
  return read_run();
}

void MvccStore::ReadAll(std::span<const RecordRef> refs,
                        absl::FunctionRef<void(size_t, std::string_view)> visitor) const {
  const absl::Status status = Read(refs, [&](size_t i, std::optional<std::string_view> kv) {
    QR_CHECK_MSG(
        kv && kv->size() == refs[i].kv_bytes,
        StrCat("table key: the record of revision ", refs[i].revision.main, ".",
               refs[i].revision.sub, " that the index names has ", kv ? "another size" : "gone"));
    visitor(i, *kv);
  });
  QR_CHECK_MSG(status.ok(), ToStd(status.message()));
}

std::string MvccStore::ReadOne(const RecordRef& ref) const {
  std::string out;
  ReadAll({&ref, 1}, [&](size_t, std::string_view kv) { out.assign(kv); });
  return out;
}

std::vector<RecordRef> MvccStore::LiveRefs(const KeyInterval& interval, int64_t main,
                                           uint64_t limit) const {
  std::vector<RecordRef> refs;
  index_.Walk(interval, [&](const KeyEntry& entry) {
    if (const auto ref = entry.LiveAt(main)) refs.push_back(*ref);
    return limit == 0 || refs.size() < limit;
  });
  return refs;
}

absl::StatusOr<std::unique_ptr<HistoryReader>> MvccStore::NewHistoryReader() const {
  QR_ASSIGN_OR_RETURN(std::unique_ptr<kv::KvSnapshot> snapshot, backend_->NewSnapshot());
  return MakeHistoryReader(std::move(snapshot), window_.Chunks());
}

}  // namespace quorate::engine
