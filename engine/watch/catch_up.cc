#include "engine/watch/catch_up.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
JobIndex::Target* HistoryJob::AddTarget(std::string_view begin, std::string_view end,
                                        int64_t first_main, EventVariant variant) {
  JobIndex::Target* target = index_.Add(begin, end);
  JobTarget& job = target->payload;
  job.first_main = job.first_main == 0 ? first_main : std::min(job.first_main, first_main);
  job.want_prev_kv = job.want_prev_kv || variant == EventVariant::kPrevKv;
  return target;
}

void HistoryJob::Run(const HistoryReader& history) {
  QR_CHECK(outcome_ == Outcome::kNotRun);
  reading_main_ = stretch_.first_main;
  bool stopped = false;
  const absl::Status scanned = history.Scan(stretch_.first_main, stretch_.last_main,
                                            [&](const RecordRef& ref, std::string_view kv) {
                                              const bool go_on = Visit(ref, kv);
                                              stopped = !go_on;
                                              return go_on;
                                            });
  if (status_.ok()) status_ = scanned;
  outcome_ = status_.ok() ? Outcome::kDone : Outcome::kFailed;
  if (!stopped) through_ = stretch_.last_main;
  plain_.buffer = Bytes::FromString(std::move(buffer_));
  newest_.clear();
}

bool HistoryJob::Visit(const RecordRef& ref, std::string_view kv) {
  const int64_t main = ref.revision.main;
  QR_CHECK(main >= reading_main_ && main <= stretch_.last_main);
  if (main != reading_main_) {
    through_ = main - 1;  // compaction may have left nothing of the revisions between
    if (bytes_read_ >= stretch_.bytes_max) return false;
    reading_main_ = main;
  }
  bytes_read_ += kv.size();
  const std::optional<wire::KeyValue> pair = wire::ParseKeyValue(kv);
  if (!pair.has_value()) {
    status_ = absl::DataLossError("record of revision " + std::to_string(main) + " sub " +
                                  std::to_string(ref.revision.sub) + " is not a KeyValue");
    return false;
  }
  bool matched = false;
  bool want_prev_kv = false;
  index_.Match(pair->key, [&](JobIndex::Target& target) {
    if (main < target.payload.first_main) return;
    target.payload.matched.push_back(static_cast<uint32_t>(records_.size()));
    matched = true;
    want_prev_kv = want_prev_kv || target.payload.want_prev_kv;
  });
  if (matched) {
    Keep(ref, pair->key, kv, want_prev_kv, pair->create_revision == main);
  }
  return true;
}

void HistoryJob::Keep(const RecordRef& ref, std::string_view key, std::string_view kv,
                      bool want_prev_kv, bool creation) {
  const EventParts parts{
      .kind = ref.kind, .main = ref.revision.main, .key = key, .kv = kv, .previous = std::nullopt};
  EventBlock::Entry entry;
  entry.begin = buffer_.size();
  AppendEvent(parts, &buffer_);
  entry.end = buffer_.size();

  Record record;
  record.main = ref.revision.main;
  record.kind = ref.kind;
  if (ref.kind == RecordKind::kPut) {  // the event ends with the KeyValue
    record.kv_begin = entry.end - kv.size();
    record.key_begin = record.kv_begin + static_cast<uint64_t>(key.data() - kv.data());
  } else {  // it ends with key, tag and main
    record.kv_begin = entry.end;
    record.key_begin =
        entry.end - wire::VarintBytes(static_cast<uint64_t>(record.main)) - 1 - key.size();
  }
  record.kv_end = entry.end;
  record.key_end = record.key_begin + key.size();
  plain_.entries.push_back(std::move(entry));
  record.want_prev_kv = want_prev_kv;
  record.creation = creation;
  if (want_prev_kv) {
    const auto [it, inserted] =
        newest_.try_emplace(std::string(key), static_cast<uint32_t>(records_.size()));
    if (!inserted) {
      const Record& before = records_[it->second];
      record.earlier =
          before.main == record.main ? before.earlier : static_cast<int32_t>(it->second);
      it->second = static_cast<uint32_t>(records_.size());
    }
  }
  records_.push_back(record);
}

// Three sources in turn: nothing before a creation; the stretch itself; else the store, which
// knows what lived before the stretch unless it was compacted.
absl::Status HistoryJob::BuildWithPrevious(const WatchStore& store, EventBlock* block) const {
  std::vector<uint32_t> asked;  // the record each ref is for
  std::vector<RecordRef> refs;
  for (uint32_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    if (!record.want_prev_kv || record.creation || record.earlier != kNone) continue;
    if (record.main - 1 < store.CompactRevision()) continue;
    const std::optional<RecordRef> before =
        store.LiveBefore(Text(record.key_begin, record.key_end), record.main);
    if (!before.has_value()) continue;
    asked.push_back(i);
    refs.push_back(*before);
  }
  block->entries.resize(records_.size());
  std::string buffer;
  uint32_t done = 0;
  const auto write_until = [&](uint32_t record, std::optional<std::string_view> previous) {
    for (; done <= record && done < records_.size(); ++done) {
      if (!records_[done].want_prev_kv) continue;
      block->entries[done].begin = buffer.size();
      AppendEvent(PartsWithPrevious(done, done == record ? previous : std::nullopt), &buffer);
      block->entries[done].end = buffer.size();
    }
  };
  if (!refs.empty()) {
    const absl::Status status = store.Records().Read(
        refs,
        [&](size_t index, std::optional<std::string_view> kv) { write_until(asked[index], kv); });
    if (!status.ok()) return status;
  }
  write_until(static_cast<uint32_t>(records_.size()), std::nullopt);
  block->buffer = Bytes::FromString(std::move(buffer));
  return absl::OkStatus();
}

EventParts HistoryJob::PartsWithPrevious(uint32_t index,
                                         std::optional<std::string_view> from_store) const {
  const Record& record = records_[index];
  EventParts parts{.kind = record.kind,
                   .main = record.main,
                   .key = Text(record.key_begin, record.key_end),
                   .kv = Text(record.kv_begin, record.kv_end),
                   .previous = from_store};
  if (!record.creation && record.earlier != kNone) {
    const Record& before = records_[static_cast<size_t>(record.earlier)];
    if (before.kind == RecordKind::kPut) parts.previous = Text(before.kv_begin, before.kv_end);
  }
  return parts;
}

}  // namespace quorate::engine
