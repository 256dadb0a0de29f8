#include "engine/mvcc/history.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::engine {
namespace {

// Records of the backend's snapshot, then those of the window.
class SnapshotHistory final : public HistoryReader {
 public:
  SnapshotHistory(std::unique_ptr<kv::KvSnapshot> snapshot,
                  std::vector<std::shared_ptr<const WindowChunk>> chunks)
      : snapshot_(std::move(snapshot)), chunks_(std::move(chunks)) {
    if (chunks_.empty()) return;
    // The last chunk is still being filled: its list of records is copied, their bytes stay.
    const std::span<const WindowRecord> records = chunks_.back()->records();
    open_records_.assign(records.begin(), records.end());
    for (size_t i = 0; i < chunks_.size() && window_begin_ == INT64_MAX; ++i) {
      if (!RecordsOf(i).empty()) window_begin_ = RecordsOf(i).front().packed.main;
    }
  }

  absl::Status Scan(
      int64_t first_main, int64_t last_main,
      absl::FunctionRef<bool(const RecordRef&, std::string_view)> visitor) const override {
    bool go_on = true;
    QR_RETURN_IF_ERROR(ScanSnapshot(first_main, last_main, visitor, &go_on));
    for (size_t i = 0; go_on && i < chunks_.size(); ++i) {
      const std::span<const WindowRecord> records = RecordsOf(i);
      const auto first = std::lower_bound(
          records.begin(), records.end(), first_main,
          [](const WindowRecord& record, int64_t main) { return record.packed.main < main; });
      for (auto record = first; go_on && record != records.end(); ++record) {
        if (record->packed.main > last_main) return absl::OkStatus();
        go_on = visitor(record->ref(), record->kv());
      }
    }
    return absl::OkStatus();
  }

 private:
  std::span<const WindowRecord> RecordsOf(size_t chunk) const {
    if (chunk + 1 == chunks_.size()) return open_records_;
    return chunks_[chunk]->records();
  }

  // What the window holds is taken from there alone, though the backend may have some of it.
  absl::Status ScanSnapshot(int64_t first_main, int64_t last_main,
                            absl::FunctionRef<bool(const RecordRef&, std::string_view)> visitor,
                            bool* go_on) const {
    const int64_t end_main = last_main < window_begin_ ? last_main + 1 : window_begin_;
    const RevisionKey begin({std::max<int64_t>(first_main, 0), 0}, RecordKind::kPut);
    const RevisionKey end({std::max<int64_t>(end_main, 0), 0}, RecordKind::kPut);
    if (begin.view() >= end.view()) return absl::OkStatus();
    absl::Status damage;
    QR_RETURN_IF_ERROR(snapshot_->Scan(
        kv::Table::kKey, begin.view(), end.view(), [&](std::string_view key, std::string_view kv) {
          const std::optional<ParsedRevisionKey> parsed = ParseRevisionKey(key);
          if (!parsed) {
            damage = absl::DataLossError(StrCat(
                "table key: key ", absl::BytesToHexString(ToAbsl(key)),
                " has not the form of a revision; restore the data directory from a backup"));
            return false;
          }
          *go_on = visitor({parsed->revision, static_cast<uint32_t>(kv.size()), parsed->kind}, kv);
          return *go_on;
        }));
    return damage;
  }

  const std::unique_ptr<kv::KvSnapshot> snapshot_;
  const std::vector<std::shared_ptr<const WindowChunk>> chunks_;
  std::vector<WindowRecord> open_records_;
  int64_t window_begin_ = INT64_MAX;  // first main that the window holds
};

}  // namespace

std::unique_ptr<HistoryReader> MakeHistoryReader(
    std::unique_ptr<kv::KvSnapshot> snapshot,
    std::vector<std::shared_ptr<const WindowChunk>> chunks) {
  QR_CHECK(!chunks.empty());
  return std::make_unique<SnapshotHistory>(std::move(snapshot), std::move(chunks));
}

std::unique_ptr<HistoryReader> MakeHistoryReader(std::unique_ptr<kv::KvSnapshot> snapshot) {
  return std::make_unique<SnapshotHistory>(std::move(snapshot),
                                           std::vector<std::shared_ptr<const WindowChunk>>());
}

}  // namespace quorate::engine
