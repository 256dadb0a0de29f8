// The writing and reading half of the segmented log.

#include "backends/log/segmented_log.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr size_t kSequenceDigits = 16;
constexpr uint64_t kReadBytesMax = 256 << 10;  // read at once, unless one entry is larger
// The first sync of a block that was reserved and never written costs a commit of the file system's
// journal as well. With small batches that is most of their time, so zeros are written ahead of
// them, many blocks at once. Large batches would write twice as much for nothing.
constexpr uint64_t kZeroAheadBytes = 64 << 10;
constexpr uint64_t kSmallBatchBytes = 1 << 10;
// Each page by a call of its own: one large write makes Linux keep the range as one folio, and then
// every small append counts as a write of all of it (write_bytes in /proc/PID/io; ext4 of 6.18).
constexpr uint64_t kZeroWriteBytes = 4096;
constexpr std::string_view kAheadSuffix = ".ahead.spare";

// Each entry may follow the one before it or replace an older one.
void CheckOrder(std::span<const Entry> entries, LogIndex first, LogIndex last) {
  for (const Entry& entry : entries) {
    QR_CHECK_MSG(entry.index >= first && entry.index <= last.Next(),
                 "an entry that does not follow the log");
    last = entry.index;
  }
}

}  // namespace

std::string SegmentedLog::PathOf(uint64_t sequence) const {
  const std::string digits = HexText(sequence);
  return StrCat(options_.dir, "/", std::string(kSequenceDigits - digits.size(), '0'), digits,
                ".seg");
}

absl::Status SegmentedLog::Create(const LogIdentity& identity) {
  QR_CHECK(!options_.read_only);
  QR_RETURN_IF_ERROR(options_.env->MakeDirs(options_.dir));
  QR_ASSIGN_OR_RETURN(const std::vector<uint64_t> sequences, ListSegments());
  if (!sequences.empty()) {
    return absl::AlreadyExistsError(StrCat(options_.dir, " already holds a log"));
  }
  identity_ = identity;
  return StartSegment(0);
}

absl::StatusOr<std::unique_ptr<File>> SegmentedLog::TakeSpareOrCreate(const std::string& path,
                                                                      uint64_t bytes) {
  while (!spares_.empty() && bytes <= options_.segment_bytes) {
    const std::string spare = std::move(spares_.back());
    spares_.pop_back();
    written_through_ = spare.ends_with(kAheadSuffix) ? 0 : options_.segment_bytes;
    absl::StatusOr<std::unique_ptr<File>> file = options_.env->Open(spare, Mode());
    if (absl::IsNotFound(file.status())) continue;
    QR_RETURN_IF_ERROR(file.status());
    QR_ASSIGN_OR_RETURN(const uint64_t size, (*file)->Size());
    if (size != options_.segment_bytes) {  // cut off while it was made, or of another setting
      QR_RETURN_IF_ERROR(options_.env->Remove(spare));
      continue;
    }
    QR_RETURN_IF_ERROR(options_.env->Rename(spare, path));
    return options_.env->Open(path, Mode());
  }
  written_through_ = 0;
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, options_.env->Create(path, Mode()));
  if (absl::Status reserved = file->Preallocate(std::max(bytes, options_.segment_bytes));
      !reserved.ok()) {
    file.reset();
    options_.env->Remove(path).IgnoreError();  // the first error is the one to tell
    return reserved;
  }
  return file;
}

absl::Status SegmentedLog::StartSegment(uint64_t record_bytes) {
  SegmentHeader header;
  // Not the index of the entry to come, should that replace an older one: until it is on disk the
  // older segments hold what is in the log up to here, and must be kept for as long as that is
  // needed.
  header.first = index_.last().Next();
  header.term_before_first = index_.TermAt(index_.last()).value();
  header.hard_state = hard_state_;
  return StartSegmentAs(header, record_bytes);
}

// Fills in what is the same for every new segment, and makes it the current one.
absl::Status SegmentedLog::StartSegmentAs(SegmentHeader header, uint64_t record_bytes) {
  // The old segment is complete on disk before a new one exists.
  if (current_ != nullptr) QR_RETURN_IF_ERROR(current_->file->Sync());
  auto segment = std::make_shared<Segment>();
  header.sequence = segments_.empty() ? 1 : segments_.rbegin()->first + 1;
  header.identity = identity_;
  // Different for every use of a file, since sequences of one log never repeat; and not to be
  // guessed by a client that would hide records in its values.
  header.incarnation = uint64_t{last_crc_} << 32 | (header.sequence & UINT32_MAX);
  segment->header = header;
  const std::string path = PathOf(header.sequence);
  QR_ASSIGN_OR_RETURN(segment->file, TakeSpareOrCreate(path, kHeaderBlockBytes + record_bytes +
                                                                 kRecordHeaderBytes));
  QR_ASSIGN_OR_RETURN(segment->bytes, segment->file->Size());
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
  QR_CHECK(!options_.read_only);
  if (!failed_.ok()) return failed_;
  if (entries.empty() && hard_state == nullptr) return absl::OkStatus();
  failed_ = AppendBatch(entries, hard_state);
  return failed_;
}

absl::Status SegmentedLog::AppendBatch(std::span<const Entry> entries,
                                       const HardState* hard_state) {
  CheckOrder(entries, index_.first(), index_.last());
  uint64_t payload_bytes = hard_state == nullptr ? 0 : kVoteBytes;
  uint64_t record_bytes = hard_state == nullptr ? 0 : PaddedRecordBytes(kVoteBytes);
  for (const Entry& entry : entries) {
    payload_bytes += entry.data.size();
    record_bytes += PaddedRecordBytes(entry.data.size());
  }
  if (offset_ + record_bytes + kRecordHeaderBytes > current_->bytes) {
    QR_RETURN_IF_ERROR(StartSegment(record_bytes));
  }
  if (record_bytes <= kSmallBatchBytes) QR_RETURN_IF_ERROR(WriteZerosAhead(record_bytes));
  QR_RETURN_IF_ERROR(WriteBatch(entries, hard_state, payload_bytes));
  written_through_ = std::max(written_through_, offset_);
  if (offset_ > current_->bytes / 2) KeepSpareAhead();
  return absl::OkStatus();
}

// What lies behind the last record is zeros already or old records that no reader takes for new.
absl::Status SegmentedLog::WriteZerosAhead(uint64_t batch_bytes) {
  const uint64_t end = std::min(offset_ + batch_bytes + kZeroAheadBytes, current_->bytes);
  if (written_through_ >= offset_ + batch_bytes || written_through_ >= current_->bytes) {
    return absl::OkStatus();
  }
  static constexpr char kZeros[kZeroWriteBytes] = {};
  uint64_t at = std::max(written_through_, offset_);
  while (at < end) {
    // Up to the end of its page.
    const std::string_view piece(kZeros,
                                 std::min(kZeroWriteBytes - at % kZeroWriteBytes, end - at));
    QR_RETURN_IF_ERROR(current_->file->WriteAt(at, {&piece, 1}));
    at += piece.size();
  }
  written_through_ = end;
  return absl::OkStatus();
}

absl::Status SegmentedLog::WriteBatch(std::span<const Entry> entries, const HardState* hard_state,
                                      uint64_t payload_bytes) {
  const uint64_t sequence = current_->header.sequence;
  batch_.Begin({{current_->header.incarnation, offset_}, synced_offset_},
               entries.size() + (hard_state == nullptr ? 0 : 1), payload_bytes);
  uint64_t offset = offset_;
  for (const Entry& entry : entries) {
    batch_.Add({RecordType::kEntry, entry.type, 0, entry.term, entry.index}, entry.data.view());
  }
  if (hard_state != nullptr) {
    char vote[kVoteBytes];
    EncodeVote(hard_state->vote, vote);
    batch_.Add(
        {RecordType::kHardState, EntryType::kNormal, 0, hard_state->term, hard_state->commit},
        {vote, kVoteBytes});
  }
  QR_RETURN_IF_ERROR(current_->file->WriteAt(offset_, batch_.Finish()));
  std::lock_guard lock(mutex_);
  for (const Entry& entry : entries) {
    const auto length = static_cast<uint32_t>(entry.data.size());
    index_.Put(entry.index, {entry.term, sequence, offset, length});
    offset += PaddedRecordBytes(length);
  }
  if (hard_state != nullptr) hard_state_ = *hard_state;
  bytes_appended_ += batch_.end_offset() - offset_;
  offset_ = batch_.end_offset();
  last_crc_ = batch_.last_crc();
  return absl::OkStatus();
}

// Makes the file of the next segment while this one has room, so that a disk that runs full is told
// of before it stops the log.
void SegmentedLog::KeepSpareAhead() {
  if (!spares_.empty() || options_.spare_segments_max == 0) return;
  const std::string path = StrCat(PathOf(current_->header.sequence + 1), kAheadSuffix);
  absl::StatusOr<std::unique_ptr<File>> file = options_.env->Create(path, Mode());
  absl::Status made = file.status();
  if (made.ok()) made = (*file)->Preallocate(options_.segment_bytes);
  if (made.ok()) {
    spares_.push_back(path);
    told_no_spare_ = false;
    return;
  }
  options_.env->Remove(path).IgnoreError();
  if (!std::exchange(told_no_spare_, true)) {
    LogWarn("no room for the next segment of the log; the server will stop when this one is full",
            {{"file", current_->file->path()}, {"bytes-left", current_->bytes - offset_}, made});
  }
}

absl::Status SegmentedLog::Sync() {
  QR_CHECK(!options_.read_only);
  if (!failed_.ok()) return failed_;
  if (options_.sync == LogSync::kFdatasync) {
    failed_ = current_->file->Sync();
    if (!failed_.ok()) return failed_;
  }
  // Without syncs any tail may be torn.
  if (options_.sync != LogSync::kNone) synced_offset_ = offset_;
  std::lock_guard lock(mutex_);
  ++syncs_;
  return absl::OkStatus();
}

absl::Status SegmentedLog::TruncatePrefix(LogIndex index) {
  QR_CHECK(!options_.read_only);
  if (!failed_.ok()) return failed_;
  std::vector<std::shared_ptr<Segment>> gone;
  {
    std::lock_guard lock(mutex_);
    index = std::min(index, index_.last());
    // Whole segments only, and never the one being written.
    while (segments_.size() > 1) {
      const auto oldest = segments_.begin();
      const LogIndex through = std::next(oldest)->second->header.first.Prev();
      if (through > index) break;
      if (through >= index_.first()) index_.DropThrough(through);
      gone.push_back(oldest->second);
      segments_.erase(oldest);
    }
  }
  for (const std::shared_ptr<Segment>& segment : gone) {
    failed_ = Retire(*segment);
    if (!failed_.ok()) return failed_;
  }
  return absl::OkStatus();
}

absl::Status SegmentedLog::Reset(LogIndex index, Term term, const HardState* hard_state) {
  QR_CHECK(!options_.read_only);
  if (!failed_.ok()) return failed_;
  const HardState& kept = hard_state == nullptr ? hard_state_ : *hard_state;
  failed_ = ResetTo(index, term, HardStateAfterReset(kept, index, term));
  return failed_;
}

absl::Status SegmentedLog::ResetTo(LogIndex index, Term term, const HardState& hard_state) {
  // Until the header of the new segment is on disk the log is the old one.
  SegmentHeader header;
  header.first = index.Next();
  header.term_before_first = term;
  header.hard_state = hard_state;
  header.begins_anew = true;
  QR_RETURN_IF_ERROR(StartSegmentAs(header, 0));
  std::vector<std::shared_ptr<Segment>> gone;
  {
    std::lock_guard lock(mutex_);
    while (segments_.size() > 1) {
      gone.push_back(segments_.begin()->second);
      segments_.erase(segments_.begin());
    }
    index_.Reset(index.Next(), term);
    hard_state_ = hard_state;
  }
  for (const std::shared_ptr<Segment>& segment : gone) QR_RETURN_IF_ERROR(Retire(*segment));
  return absl::OkStatus();
}

absl::Status SegmentedLog::Retire(const Segment& segment) {
  const std::string path = PathOf(segment.header.sequence);
  if (spares_.size() < options_.spare_segments_max && segment.bytes == options_.segment_bytes) {
    // A sequence that passed is never used again, so the name cannot clash.
    const std::string spare = path + ".spare";
    QR_RETURN_IF_ERROR(options_.env->Rename(path, spare));
    spares_.push_back(spare);
  } else {
    QR_RETURN_IF_ERROR(options_.env->Remove(path));
  }
  // One by one: should a crash keep the second removal and lose the first, a segment would be
  // missing in the middle.
  return options_.env->SyncDir(options_.dir);
}

LogIndex SegmentedLog::first_index() const {
  std::lock_guard lock(mutex_);
  return index_.first();
}

LogIndex SegmentedLog::last_index() const {
  std::lock_guard lock(mutex_);
  return index_.last();
}

HardState SegmentedLog::hard_state() const {
  std::lock_guard lock(mutex_);
  return hard_state_;
}

LogStats SegmentedLog::stats() const {
  std::lock_guard lock(mutex_);
  return {bytes_appended_, syncs_, segments_.size()};
}

std::optional<Term> SegmentedLog::TermAt(LogIndex index) const {
  std::lock_guard lock(mutex_);
  return index_.TermAt(index);
}

// Expects mutex_ to be held.
absl::Status SegmentedLog::NotInLog(LogIndex index) const {
  return absl::OutOfRangeError(StrCat("log entry ", index.value(), " is not, or not any more, in [",
                                      index_.first().value(), ", ", index_.last().value(), "]"));
}

absl::Status SegmentedLog::Read(LogIndex first, LogIndex last,
                                absl::FunctionRef<bool(const Entry&)> visitor) const {
  LogIndex index = first;
  while (index <= last) {
    ReadChunk chunk;
    {
      std::lock_guard lock(mutex_);
      if (!index_.Has(index)) return NotInLog(index);
      if (!index_.Has(last)) return NotInLog(last);
      chunk = NextChunk(index, last);
    }
    absl::StatusOr<std::optional<LogIndex>> next = VisitChunk(index, chunk, visitor);
    if (!next.ok()) {
      std::lock_guard lock(mutex_);
      // Cut off meanwhile, and its file perhaps in use again; another entry may have its index.
      const bool still_there = segments_.contains(chunk.segment->header.sequence);
      return still_there && index_.Has(index) ? next.status() : NotInLog(index);
    }
    if (!*next) return absl::OkStatus();
    index = **next;
  }
  return absl::OkStatus();
}

// Expects mutex_ to be held.
SegmentedLog::ReadChunk SegmentedLog::NextChunk(LogIndex index, LogIndex last) const {
  ReadChunk chunk;
  const EntryPlace begin = index_.At(index);
  chunk.segment = segments_.at(begin.segment);
  chunk.places.push_back(begin);
  for (index = index.Next(); index <= last; ++index) {
    const EntryPlace place = index_.At(index);
    const bool together =
        place.segment == begin.segment && place.offset > begin.offset &&
        place.offset + PaddedRecordBytes(place.length) <= begin.offset + kReadBytesMax;
    if (!together) break;
    chunk.places.push_back(place);
  }
  return chunk;
}

// The entry to go on with, or none when the visitor has enough.
absl::StatusOr<std::optional<LogIndex>> SegmentedLog::VisitChunk(
    LogIndex index, const ReadChunk& chunk, absl::FunctionRef<bool(const Entry&)> visitor) const {
  const uint64_t begin = chunk.places.front().offset;
  const EntryPlace& end = chunk.places.back();
  std::string data(end.offset + PaddedRecordBytes(end.length) - begin, '\0');
  QR_ASSIGN_OR_RETURN(const size_t got,
                      chunk.segment->file->ReadAt(begin, data.size(), data.data()));
  data.resize(got);
  for (const EntryPlace& place : chunk.places) {
    const size_t at = std::min<size_t>(place.offset - begin, got);
    absl::StatusOr<Record> record = DecodeRecord(std::string_view(data).substr(at),
                                                 {chunk.segment->header.incarnation, place.offset});
    if (!record.ok() || record->fields.type != RecordType::kEntry ||
        record->fields.index != index) {
      return absl::DataLossError(
          StrCat(chunk.segment->file->path(), ": offset ", place.offset, ": log entry ",
                 index.value(), " cannot be read: ",
                 record.ok() ? absl::string_view("it is not there") : record.status().message()));
    }
    const RecordFields& fields = record->fields;
    const Entry entry{fields.term, index, fields.entry_type, Bytes::Copy(record->payload)};
    if (!visitor(entry)) return std::optional<LogIndex>();
    ++index;
  }
  return std::optional<LogIndex>(index);
}

}  // namespace quorate::log
