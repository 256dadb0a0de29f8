// The log on disk, in segments.
//
// Layout (little-endian). A segment file "<sequence>.seg" (16 hex digits) is preallocated and
// begins with a header block of 4096 bytes:
//    0 magic "QRLOGSEG"     8 format version u32 (1)      12 zero u32
//   16 sequence u64        24 first index u64             32 term before first u64
//   40 member u64          48 cluster u64                 56 incarnation u64
//   64 hard state: term u64, vote u64, commit u64 (as of the creation of the segment)
//   88 crc32c u32 of bytes 0..87
// Records follow, each padded with zeros to 8 bytes:
//    0 crc32c u32 over incarnation, file offset, and bytes 4..31+length
//    4 length u32 of the payload
//    8 type u8: 1 entry, 2 hard state     9 entry type u8    10 zero u16
//   12 offset / 8 u32 up to which the segment was synced when this was written
//   16 term u64   24 index u64 (hard state: commit)
//   32 payload (hard state: vote u64)
// 32 zero bytes end the segment; the next append overwrites them.
//
// The incarnation is new for every use of a file, so what a recycled file held before is never
// taken for a record. A segment is left only when all of it is synced. Hence damage is a torn tail
// exactly if it lies in the last segment and no valid record behind it was written after that place
// had been synced; anything else is damage to what was acknowledged.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "backends/log/log_store.h"
#include "backends/log/segment.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr size_t kVoteBytes = 8;

std::string SegmentName(uint64_t sequence) {
  const std::string digits = HexText(sequence);
  return std::string(16 - digits.size(), '0') + digits + ".seg";
}

// Cheap test before a checksum is computed.
bool LooksLikeRecord(std::string_view data, uint64_t offset) {
  const unsigned char type = static_cast<unsigned char>(data[offset + 8]);
  return type >= 1 && type <= 2 && data[offset + 10] == 0 && data[offset + 11] == 0;
}

// Whether anything but zeros stands where records would.
bool HoldsRecords(std::string_view data) {
  return data.size() > kHeaderBlockBytes &&
         data.substr(kHeaderBlockBytes, kRecordHeaderBytes).find_first_not_of('\0') !=
             std::string_view::npos;
}

struct Place {
  Term term;
  uint64_t segment = 0;  // sequence
  uint64_t offset = 0;
  uint32_t length = 0;
};

struct Segment {
  SegmentHeader header;
  std::unique_ptr<File> file;
  LogIndex last;  // newest entry written into it; header.first - 1 when none
};

class SegmentedLog final : public LogStore {
 public:
  explicit SegmentedLog(LogOptions options) : options_(std::move(options)) {}

  absl::Status Create(const LogIdentity& identity);
  absl::Status Open();

  absl::Status Append(std::span<const Entry> entries, const HardState* hard_state) override;
  absl::Status Sync() override;
  absl::Status TruncatePrefix(LogIndex index) override;
  absl::Status Read(LogIndex first, LogIndex last,
                    absl::FunctionRef<bool(const Entry&)> visitor) const override;
  std::optional<Term> TermAt(LogIndex index) const override;
  LogIndex first_index() const override {
    std::lock_guard lock(mutex_);
    return first_;
  }
  LogIndex last_index() const override {
    std::lock_guard lock(mutex_);
    return Last();
  }
  HardState hard_state() const override {
    std::lock_guard lock(mutex_);
    return hard_state_;
  }
  LogIdentity identity() const override { return identity_; }
  LogStats stats() const override {
    std::lock_guard lock(mutex_);
    return {bytes_appended_, syncs_, segments_.size()};
  }

 private:
  std::string PathOf(uint64_t sequence) const { return options_.dir + "/" + SegmentName(sequence); }
  LogIndex Last() const { return LogIndex(first_.value() + places_.size() - 1); }
  WriteMode Mode() const {
    return options_.sync == LogSync::kDsync ? WriteMode::kDataSync : WriteMode::kBuffered;
  }
  absl::Status StartSegment(LogIndex first, uint64_t bytes_at_least);
  absl::StatusOr<std::unique_ptr<File>> TakeSpareOrCreate(const std::string& path, uint64_t bytes);
  absl::Status ScanSegment(const std::string& name, bool is_last);
  absl::Status ScanRecords(Segment& segment, std::string_view data, bool is_last);
  absl::Status TakeRecord(Segment& segment, uint64_t offset, const Record& record);
  absl::Status CheckTail(Segment& segment, std::string_view data, uint64_t offset, bool is_last,
                         const absl::Status& damage);
  void SetPlace(LogIndex index, const Place& place);
  absl::Status WriteRecords(std::span<const Entry> entries, const HardState* hard_state);
  absl::StatusOr<Entry> ReadAtPlace(LogIndex index, const Place& place,
                                    const std::shared_ptr<Segment>& segment) const;

  const LogOptions options_;
  LogIdentity identity_;

  mutable std::mutex mutex_;  // guards what readers look at; held for no I/O
  std::map<uint64_t, std::shared_ptr<Segment>> segments_;  // by sequence
  std::deque<Place> places_;                               // entries first_ .. Last()
  LogIndex first_{1};
  Term term_before_first_;
  HardState hard_state_;
  uint64_t bytes_appended_ = 0;
  uint64_t syncs_ = 0;

  // Writer thread only.
  std::shared_ptr<Segment> current_;
  uint64_t offset_ = 0;         // where the next record goes
  uint64_t synced_offset_ = 0;  // of the current segment
  std::vector<std::string> spares_;
};

absl::Status SegmentedLog::Create(const LogIdentity& identity) {
  QR_RETURN_IF_ERROR(options_.env->MakeDirs(options_.dir));
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, options_.env->List(options_.dir));
  for (const std::string& name : names) {
    if (name.ends_with(".seg")) {
      return absl::AlreadyExistsError(StrCat(options_.dir, " already holds a log"));
    }
  }
  identity_ = identity;
  return StartSegment(LogIndex(1), 0);
}

absl::StatusOr<std::unique_ptr<File>> SegmentedLog::TakeSpareOrCreate(const std::string& path,
                                                                      uint64_t bytes) {
  while (!spares_.empty() && bytes <= options_.segment_bytes) {
    const std::string spare = std::move(spares_.back());
    spares_.pop_back();
    absl::StatusOr<std::unique_ptr<File>> file = options_.env->Open(spare, Mode());
    if (!file.ok()) continue;
    absl::StatusOr<uint64_t> size = (*file)->Size();
    if (!size.ok() || *size < options_.segment_bytes) continue;
    QR_RETURN_IF_ERROR(options_.env->Rename(spare, path));
    return options_.env->Open(path, Mode());
  }
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, options_.env->Create(path, Mode()));
  if (absl::Status reserved = file->Preallocate(std::max(bytes, options_.segment_bytes));
      !reserved.ok()) {
    file.reset();
    (void)options_.env->Remove(path);
    return reserved;
  }
  return file;
}

absl::Status SegmentedLog::StartSegment(LogIndex first, uint64_t bytes_at_least) {
  // The old segment is complete on disk before a new one exists.
  if (current_ != nullptr) QR_RETURN_IF_ERROR(current_->file->Sync());
  auto segment = std::make_shared<Segment>();
  SegmentHeader& header = segment->header;
  header.sequence = segments_.empty() ? 1 : segments_.rbegin()->first + 1;
  header.first = first;
  header.term_before_first = TermAt(first.Prev()).value_or(Term(0));
  header.identity = identity_;
  // Different for every use of a file: sequences of one log never repeat.
  header.incarnation = header.sequence;
  header.hard_state = hard_state_;
  segment->last = first.Prev();
  const std::string path = PathOf(header.sequence);
  QR_ASSIGN_OR_RETURN(segment->file, TakeSpareOrCreate(path, kHeaderBlockBytes + bytes_at_least +
                                                                 2 * kRecordHeaderBytes));
  const std::string block = EncodeSegmentHeader(header);
  const std::string end(kRecordHeaderBytes, '\0');
  const std::array<std::string_view, 2> pieces = {block, end};
  QR_RETURN_IF_ERROR(segment->file->WriteAt(0, pieces));
  QR_RETURN_IF_ERROR(segment->file->Sync());
  QR_RETURN_IF_ERROR(options_.env->SyncDir(options_.dir));
  {
    std::lock_guard lock(mutex_);
    segments_[header.sequence] = segment;
  }
  current_ = std::move(segment);
  offset_ = synced_offset_ = kHeaderBlockBytes;
  return absl::OkStatus();
}

absl::Status SegmentedLog::Append(std::span<const Entry> entries, const HardState* hard_state) {
  uint64_t bytes = hard_state == nullptr ? 0 : PaddedRecordBytes(kVoteBytes);
  for (const Entry& entry : entries) bytes += PaddedRecordBytes(entry.data.size());
  QR_ASSIGN_OR_RETURN(const uint64_t capacity, current_->file->Size());
  if (offset_ + bytes + kRecordHeaderBytes > capacity) {
    const LogIndex first = entries.empty() ? last_index().Next() : entries.front().index;
    QR_RETURN_IF_ERROR(StartSegment(first, bytes));
  }
  return WriteRecords(entries, hard_state);
}

absl::Status SegmentedLog::WriteRecords(std::span<const Entry> entries,
                                        const HardState* hard_state) {
  const size_t records = entries.size() + (hard_state == nullptr ? 0 : 1);
  std::vector<char> headers(records * kRecordHeaderBytes);
  std::vector<std::string_view> pieces;
  pieces.reserve(3 * records + 1);
  static constexpr char kZeros[kRecordHeaderBytes] = {};
  uint64_t offset = offset_;
  char* header = headers.data();
  std::vector<Place> places;
  places.reserve(entries.size());
  const uint64_t incarnation = current_->header.incarnation;
  const auto add = [&](RecordFields fields, std::string_view payload) {
    fields.synced_offset = synced_offset_;
    EncodeRecordHeader(fields, payload, incarnation, offset, header);
    pieces.emplace_back(header, kRecordHeaderBytes);
    if (!payload.empty()) pieces.push_back(payload);
    const uint64_t padded = PaddedRecordBytes(payload.size());
    const uint64_t pad = padded - kRecordHeaderBytes - payload.size();
    if (pad != 0) pieces.emplace_back(kZeros, pad);
    header += kRecordHeaderBytes;
    offset += padded;
  };
  for (const Entry& entry : entries) {
    places.push_back(
        {entry.term, current_->header.sequence, offset, static_cast<uint32_t>(entry.data.size())});
    add({RecordType::kEntry, entry.type, 0, entry.term, entry.index}, entry.data.view());
  }
  char vote[kVoteBytes];
  if (hard_state != nullptr) {
    const uint64_t value = hard_state->vote.value();
    memcpy(vote, &value, kVoteBytes);
    add({RecordType::kHardState, EntryType::kNormal, 0, hard_state->term, hard_state->commit},
        {vote, kVoteBytes});
  }
  pieces.emplace_back(kZeros, kRecordHeaderBytes);
  QR_RETURN_IF_ERROR(current_->file->WriteAt(offset_, pieces));
  std::lock_guard lock(mutex_);
  bytes_appended_ += offset - offset_;
  offset_ = offset;
  for (size_t i = 0; i < entries.size(); ++i) SetPlace(entries[i].index, places[i]);
  if (!entries.empty()) current_->last = entries.back().index;
  if (hard_state != nullptr) hard_state_ = *hard_state;
  return absl::OkStatus();
}

void SegmentedLog::SetPlace(LogIndex index, const Place& place) {
  QR_CHECK(index >= first_ && index <= Last().Next());
  places_.resize(index.value() - first_.value());  // a conflict drops what followed
  places_.push_back(place);
}

absl::Status SegmentedLog::Sync() {
  if (options_.sync == LogSync::kFdatasync) QR_RETURN_IF_ERROR(current_->file->Sync());
  synced_offset_ = offset_;
  std::lock_guard lock(mutex_);
  ++syncs_;
  return absl::OkStatus();
}

absl::Status SegmentedLog::TruncatePrefix(LogIndex index) {
  std::vector<std::shared_ptr<Segment>> gone;
  {
    std::lock_guard lock(mutex_);
    // Whole segments only, and never the one being written.
    while (segments_.size() > 1) {
      const auto oldest = segments_.begin();
      const LogIndex next_first = std::next(oldest)->second->header.first;
      if (next_first.Prev() > index) break;
      QR_CHECK(next_first >= first_);
      const size_t drop = next_first.value() - first_.value();
      if (drop > 0) {
        QR_CHECK(drop <= places_.size());
        term_before_first_ = places_[drop - 1].term;
        places_.erase(places_.begin(), places_.begin() + static_cast<ptrdiff_t>(drop));
        first_ = next_first;
      }
      gone.push_back(oldest->second);
      segments_.erase(oldest);
    }
  }
  for (const std::shared_ptr<Segment>& segment : gone) {
    const std::string path = PathOf(segment->header.sequence);
    if (spares_.size() < options_.spare_segments_max) {
      // A sequence that passed is never used again, so the name cannot clash.
      const std::string spare = path + ".spare";
      QR_RETURN_IF_ERROR(options_.env->Rename(path, spare));
      spares_.push_back(spare);
    } else {
      QR_RETURN_IF_ERROR(options_.env->Remove(path));
    }
  }
  if (!gone.empty()) QR_RETURN_IF_ERROR(options_.env->SyncDir(options_.dir));
  return absl::OkStatus();
}

std::optional<Term> SegmentedLog::TermAt(LogIndex index) const {
  std::lock_guard lock(mutex_);
  if (index == first_.Prev()) return term_before_first_;
  if (index < first_ || index > Last()) return std::nullopt;
  return places_[index.value() - first_.value()].term;
}

absl::StatusOr<Entry> SegmentedLog::ReadAtPlace(LogIndex index, const Place& place,
                                                const std::shared_ptr<Segment>& segment) const {
  std::string data(kRecordHeaderBytes + place.length, '\0');
  QR_ASSIGN_OR_RETURN(const size_t got,
                      segment->file->ReadAt(place.offset, data.size(), data.data()));
  // The checksum covers the offset in the file; the record is read back at offset 0 of `data`.
  absl::StatusOr<Record> record =
      got == data.size()
          ? DecodeRecord(data, 0, segment->header.incarnation, place.offset)
          : absl::StatusOr<Record>(absl::DataLossError("the file ends inside the record"));
  if (!record.ok() || record->fields.type != RecordType::kEntry || record->fields.index != index) {
    return absl::DataLossError(StrCat(
        segment->file->path(), ": offset ", place.offset, ": log entry ", index.value(),
        " cannot be read: ",
        record.ok() ? absl::string_view("another record is there") : record.status().message()));
  }
  return Entry{record->fields.term, index, record->fields.entry_type, Bytes::Copy(record->payload)};
}

absl::Status SegmentedLog::Read(LogIndex first, LogIndex last,
                                absl::FunctionRef<bool(const Entry&)> visitor) const {
  for (LogIndex index = first; index <= last; ++index) {
    Place place;
    std::shared_ptr<Segment> segment;
    {
      std::lock_guard lock(mutex_);
      if (index < first_ || index > Last()) {
        return absl::OutOfRangeError(StrCat("log entry ", index.value(), " is not in [",
                                            first_.value(), ", ", Last().value(), "]"));
      }
      place = places_[index.value() - first_.value()];
      segment = segments_.at(place.segment);
    }
    QR_ASSIGN_OR_RETURN(const Entry entry, ReadAtPlace(index, place, segment));
    if (!visitor(entry)) break;
  }
  return absl::OkStatus();
}

absl::Status SegmentedLog::Open() {
  absl::StatusOr<std::vector<std::string>> listed = options_.env->List(options_.dir);
  if (!listed.ok() && !absl::IsNotFound(listed.status())) return listed.status();
  std::vector<std::string> names;
  for (const std::string& name : listed.ok() ? *listed : std::vector<std::string>()) {
    if (name.ends_with(".seg")) names.push_back(name);
    if (name.ends_with(".spare")) spares_.push_back(options_.dir + "/" + name);
  }
  if (names.empty()) return absl::NotFoundError(StrCat("no log in ", options_.dir));
  std::sort(names.begin(), names.end());
  for (size_t i = 0; i < names.size(); ++i) {
    QR_RETURN_IF_ERROR(ScanSegment(names[i], i + 1 == names.size()));
  }
  if (segments_.empty()) return absl::NotFoundError(StrCat("no log in ", options_.dir));
  return absl::OkStatus();
}

absl::Status SegmentedLog::ScanSegment(const std::string& name, bool is_last) {
  const std::string path = options_.dir + "/" + name;
  auto segment = std::make_shared<Segment>();
  QR_ASSIGN_OR_RETURN(segment->file, options_.env->Open(path, Mode()));
  QR_ASSIGN_OR_RETURN(const uint64_t size, segment->file->Size());
  std::string data(size, '\0');
  QR_ASSIGN_OR_RETURN(const size_t got, segment->file->ReadAt(0, size, data.data()));
  data.resize(got);
  absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(data, path);
  // A new segment's name is made before its header is synced: a crash in between leaves a last
  // segment without a valid header, in which nothing can have been acknowledged.
  const bool never_begun =
      header.ok() ? SegmentName(header->sequence) != name  // a recycled file's old header
                  : absl::IsDataLoss(header.status()) && !HoldsRecords(data);
  if (never_begun && is_last) {
    LogWarn("removed a log segment whose creation a crash cut off", {{"file", path}});
    segment->file.reset();
    return options_.env->Remove(path);
  }
  if (!header.ok()) return header.status();
  if (!segments_.empty()) {
    const SegmentHeader& before = segments_.rbegin()->second->header;
    if (header->sequence != before.sequence + 1) {
      return absl::DataLossError(StrCat(path, ": offset 16: segment ", before.sequence + 1,
                                        " of the log is missing; restore the data directory"));
    }
    if (header->identity != identity_) {
      return absl::FailedPreconditionError(
          StrCat(path, ": this segment belongs to another member; restore the data directory"));
    }
  } else {
    identity_ = header->identity;
    first_ = header->first;
    term_before_first_ = header->term_before_first;
    hard_state_ = header->hard_state;
  }
  segment->header = *header;
  segment->last = header->first.Prev();
  segments_[header->sequence] = segment;
  return ScanRecords(*segment, data, is_last);
}

absl::Status SegmentedLog::ScanRecords(Segment& segment, std::string_view data, bool is_last) {
  uint64_t offset = kHeaderBlockBytes;
  for (;;) {
    absl::StatusOr<Record> record = DecodeRecord(data, offset, segment.header.incarnation, offset);
    if (record.ok() && record->fields.type != RecordType::kEnd) {
      if (absl::Status taken = TakeRecord(segment, offset, *record); !taken.ok()) return taken;
      offset += record->bytes;
      continue;
    }
    const absl::Status damage = record.ok() ? absl::OkStatus() : record.status();
    QR_RETURN_IF_ERROR(CheckTail(segment, data, offset, is_last, damage));
    break;
  }
  // The newest segment is the one to go on with; should its successor turn out never begun, that is
  // still so.
  current_ = segments_.rbegin()->second;
  offset_ = synced_offset_ = offset;
  return options_.read_only || !is_last ? absl::OkStatus() : current_->file->Sync();
}

absl::Status SegmentedLog::TakeRecord(Segment& segment, uint64_t offset, const Record& record) {
  const std::string where = StrCat(segment.file->path(), ": offset ", offset);
  if (record.fields.type == RecordType::kHardState && record.payload.size() == kVoteBytes) {
    uint64_t vote;
    memcpy(&vote, record.payload.data(), kVoteBytes);
    hard_state_ = {record.fields.term, MemberId(vote), record.fields.index};
    return absl::OkStatus();
  }
  const LogIndex index = record.fields.index;
  if (record.fields.type != RecordType::kEntry) {
    return absl::DataLossError(
        StrCat(where, ": unknown kind of record; restore the data directory"));
  }
  // A conflict in an older segment may reach behind what was cut off since; entries that are gone
  // from the front stay gone.
  if (index < first_ || index > Last().Next()) {
    return absl::DataLossError(StrCat(where, ": entry ", index.value(), " does not follow entry ",
                                      Last().value(), "; restore the data directory"));
  }
  SetPlace(index, {record.fields.term, segment.header.sequence, offset,
                   static_cast<uint32_t>(record.payload.size())});
  segment.last = index;
  return absl::OkStatus();
}

// Decides whether what stands at `offset` is the end, a torn tail to be dropped, or damage.
absl::Status SegmentedLog::CheckTail(Segment& segment, std::string_view data, uint64_t offset,
                                     bool is_last, const absl::Status& damage) {
  for (uint64_t at = offset + 8; at + kRecordHeaderBytes <= data.size(); at += 8) {
    if (!LooksLikeRecord(data, at)) continue;
    absl::StatusOr<Record> later = DecodeRecord(data, at, segment.header.incarnation, at);
    if (!later.ok() || later->fields.type == RecordType::kEnd) continue;
    if (later->fields.synced_offset <= offset && is_last) continue;  // of the same torn write
    return absl::DataLossError(
        StrCat(segment.file->path(), ": offset ", offset, ": the log is damaged (",
               damage.ok() ? absl::string_view("a record is missing") : damage.message(),
               ") before an intact record at offset ", at,
               "; acknowledged writes are lost here: restore the data directory from a backup or "
               "start this member anew"));
  }
  if (damage.ok()) return absl::OkStatus();
  if (!is_last) {
    return absl::DataLossError(StrCat(segment.file->path(), ": offset ", offset,
                                      ": the log is damaged (", damage.message(),
                                      ") in a segment that was complete; restore the data "
                                      "directory from a backup or start this member anew"));
  }
  LogWarn("dropped the torn tail of the log: an append that a crash cut off",
          {{"file", segment.file->path()}, {"offset", offset}});
  if (options_.read_only) return absl::OkStatus();
  // Zeros from here on, so that no later look finds pieces of it.
  const std::string zeros(data.size() - offset, '\0');
  const std::string_view piece = zeros;
  QR_RETURN_IF_ERROR(segment.file->WriteAt(offset, {&piece, 1}));
  return segment.file->Sync();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogStore>> CreateSegmentedLog(const LogOptions& options,
                                                             const LogIdentity& identity) {
  auto log = std::make_unique<SegmentedLog>(options);
  QR_RETURN_IF_ERROR(log->Create(identity));
  return std::unique_ptr<LogStore>(std::move(log));
}

absl::StatusOr<std::unique_ptr<LogStore>> OpenSegmentedLog(const LogOptions& options) {
  auto log = std::make_unique<SegmentedLog>(options);
  QR_RETURN_IF_ERROR(log->Open());
  return std::unique_ptr<LogStore>(std::move(log));
}

}  // namespace quorate::log
