// MvccStore: start from what the backend has.
#include "engine/mvcc/store.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/mvcc/compaction_marks.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

constexpr uint64_t kProgressRecords = 65536;

absl::Status Damaged(std::string_view table, std::string_view key, std::string_view what) {
  return absl::DataLossError(StrCat("table ", table, ": key ", absl::BytesToHexString(ToAbsl(key)),
                                    ": ", what, "; restore the data directory from a backup"));
}

}  // namespace

absl::Status MvccStore::RestoreRecord(std::string_view key, std::string_view value) {
  const std::optional<ParsedRevisionKey> parsed = ParseRevisionKey(key);
  if (!parsed || parsed->revision.main <= 0 || parsed->revision.sub < 0 ||
      parsed->revision.sub > UINT32_MAX) {
    return Damaged("key", key, "not a revision");
  }
  // What `etcdutl snapshot restore --bump-revision` writes: it only says how far revisions go.
  if (value.empty() && parsed->kind == RecordKind::kPut) {
    current_ = std::max(current_, parsed->revision.main);
    return absl::OkStatus();
  }
  const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(value);
  if (!kv || kv->key.empty()) return Damaged("key", key, "the record cannot be read");
  const bool put = parsed->kind == RecordKind::kPut;
  if (put &&
      (kv->mod_revision != parsed->revision.main || kv->create_revision <= 0 || kv->version <= 0)) {
    return Damaged("key", key, "the record names another revision");
  }
  KeyIndex::Place place;
  index_.Locate(kv->key, &place);
  if (place.entry != nullptr && place.entry->newest.Unpack().revision >= parsed->revision) {
    return Damaged("key", key, "a second record of one revision");
  }
  const RecordRef ref{parsed->revision, static_cast<uint32_t>(value.size()), parsed->kind};
  index_.Add(&place, kv->key, ref, {kv->create_revision, kv->version, kv->lease});
  current_ = std::max(current_, ref.revision.main);
  return absl::OkStatus();
}

absl::Status MvccStore::Restore(absl::FunctionRef<void(uint64_t)> progress) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> snapshot, backend_->NewSnapshot());
  uint64_t records = 0;
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      snapshot->Scan(kv::Table::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
        damage = RestoreRecord(key, value);
        if (++records % kProgressRecords == 0) progress(records);
        return damage.ok();
      }));
  QR_RETURN_IF_ERROR(damage);
  progress(records);
  // Attachments follow from the live pairs. A revoke takes the lease and its keys in one entry, so
  // a lease that is named and missing can only come from another server's data: no attachment then.
  index_.Walk(KeyInterval::Of({}, {"\0", 1}), [&](const KeyEntry& entry) {
    const LeaseId lease(entry.lease);
    if (lease.value() != 0 && lessor_->Exists(lease)) lessor_->Attach(lease, entry.key());
    return true;
  });
  return RestoreCompactionMarks();
}

absl::Status MvccStore::RestoreCompactionMarks() {
  const std::string_view keys[] = {kScheduledCompactRev, kFinishedCompactRev};
  int64_t marks[] = {-1, -1};
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      backend_->Read(kv::Table::kMeta, keys, [&](size_t i, std::optional<std::string_view> value) {
        if (!value) return;
        const std::optional<ParsedRevisionKey> parsed = ParseRevisionKey(*value);
        if (parsed) {
          marks[i] = parsed->revision.main;
        } else {
          damage = Damaged("meta", keys[i], "not a revision");
        }
      }));
  QR_RETURN_IF_ERROR(damage);
  const auto [scheduled, finished] = marks;
  current_ = std::max({current_, scheduled, finished});
  compacted_ = std::max(scheduled, finished);
  physically_compacted_ = finished;
  if (scheduled > finished) {
    // Some of its deletions may be done: what is left of that history has no hash worth keeping.
    compactions_.push_back({scheduled, finished});
    compaction_begun_ = true;
  }
  return absl::OkStatus();
}

}  // namespace quorate::engine
