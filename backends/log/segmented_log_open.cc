// Opening a segmented log: what is there is read and checked, a torn tail is dropped.

#include <algorithm>
#include <charconv>

#include "backends/log/segmented_log.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr std::string_view kWayOut =
    "restore this member from a snapshot or backup, or remove its data directory and let it join "
    "anew";

absl::Status Damaged(const std::string& path, uint64_t offset, std::string_view what) {
  return absl::DataLossError(StrCat(path, ": offset ", offset, ": ", what, "; ", kWayOut));
}

// Names are 16 hex digits and ".seg"; anything else in the folder is not ours to read.
std::optional<uint64_t> SequenceOf(std::string_view name) {
  constexpr size_t kDigits = 16;
  if (name.size() != kDigits + 4 || name.substr(kDigits) != ".seg") return std::nullopt;
  uint64_t sequence = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, sequence, 16);
  if (error != std::errc() || end != name.data() + kDigits || sequence == 0) return std::nullopt;
  return sequence;
}

// Whether anything but zeros stands where records would.
bool HoldsRecords(std::string_view data) {
  return data.size() > kHeaderBlockBytes &&
         data.substr(kHeaderBlockBytes, kRecordHeaderBytes).find_first_not_of('\0') !=
             std::string_view::npos;
}

// Cheap test before a checksum is computed.
bool LooksLikeRecord(std::string_view data, uint64_t offset) {
  const char type = data[offset + 8];
  return type == static_cast<char>(RecordType::kEntry) ||
         type == static_cast<char>(RecordType::kHardState);
}

// What valid records stand behind a place that holds none.
struct Later {
  std::optional<uint64_t> any;    // the first one
  std::optional<uint64_t> after;  // the first one written after that place had been synced
};
Later FindLater(std::string_view data, uint64_t offset, uint64_t incarnation) {
  Later later;
  for (uint64_t at = offset + kRecordAlignment; at + kRecordHeaderBytes <= data.size();
       at += kRecordAlignment) {
    if (!LooksLikeRecord(data, at)) continue;
    const absl::StatusOr<Record> record = DecodeRecord(data.substr(at), {incarnation, at});
    if (!record.ok() || record->fields.type == RecordType::kEnd) continue;
    if (!later.any) later.any = at;
    if (record->fields.synced_offset > offset) {
      later.after = at;
      break;
    }
  }
  return later;
}

}  // namespace

absl::StatusOr<std::vector<uint64_t>> SegmentedLog::ListSegments() {
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, options_.env->List(options_.dir));
  std::vector<uint64_t> sequences;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> sequence = SequenceOf(name)) {
      sequences.push_back(*sequence);
    } else if (name.ends_with(".spare")) {
      spares_.push_back(StrCat(options_.dir, "/", name));
    }
  }
  std::sort(sequences.begin(), sequences.end());
  return sequences;
}

absl::Status SegmentedLog::Open() {
  absl::StatusOr<std::vector<uint64_t>> sequences = ListSegments();
  const absl::Status none = absl::NotFoundError(StrCat("no log in ", options_.dir));
  if (absl::IsNotFound(sequences.status())) return none;
  QR_RETURN_IF_ERROR(sequences.status());
  QR_ASSIGN_OR_RETURN(const size_t begin, FindBeginning(*sequences));
  for (size_t i = begin; i < sequences->size(); ++i) {
    QR_RETURN_IF_ERROR(ScanSegment((*sequences)[i], i + 1 == sequences->size()));
  }
  if (segments_.empty()) return none;
  QR_RETURN_IF_ERROR(CheckWhole());
  if (options_.read_only) return absl::OkStatus();
  QR_RETURN_IF_ERROR(MakeDurable());
  for (size_t i = 0; i < begin; ++i) {
    QR_RETURN_IF_ERROR(options_.env->Remove(PathOf((*sequences)[i])));
  }
  return begin == 0 ? absl::OkStatus() : options_.env->SyncDir(options_.dir);
}

// The first segment that counts: the last one that begins the log anew, or 0. (Those before it are
// there only when a crash came before they were removed.)
absl::StatusOr<size_t> SegmentedLog::FindBeginning(const std::vector<uint64_t>& sequences) const {
  for (size_t i = sequences.size(); i > 0; --i) {
    const std::string path = PathOf(sequences[i - 1]);
    QR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, options_.env->Open(path, Mode()));
    std::string block(kHeaderBlockBytes, '\0');
    QR_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, block.size(), block.data()));
    block.resize(got);
    const absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(block, path);
    // One that is damaged is judged when it is scanned.
    if (header.ok() && header->begins_anew && header->sequence == sequences[i - 1]) return i - 1;
  }
  return 0;
}

// What was read may be in the memory of the system alone: never synced by the process before, or by
// a sync that failed, after which a later one would succeed and write nothing. What is taken now
// must last, so it is written again.
absl::Status SegmentedLog::MakeDurable() {
  constexpr uint64_t kStepBytes = 1 << 20;
  File& file = *current_->file;
  const uint64_t end = std::min(offset_ + kRecordHeaderBytes, current_->bytes);
  std::string bytes;
  for (uint64_t at = proven_bytes_; at < end; at += bytes.size()) {
    bytes.resize(std::min(end - at, kStepBytes));
    QR_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(at, bytes.size(), bytes.data()));
    if (got != bytes.size()) return Damaged(file.path(), at + got, "the file ends here");
    const std::string_view piece = bytes;
    QR_RETURN_IF_ERROR(file.WriteAt(at, {&piece, 1}));
  }
  QR_RETURN_IF_ERROR(file.Sync());
  return options_.env->SyncDir(options_.dir);
}

absl::Status SegmentedLog::ScanSegment(uint64_t sequence, bool is_last) {
  const std::string path = PathOf(sequence);
  auto segment = std::make_shared<Segment>();
  QR_ASSIGN_OR_RETURN(segment->file, options_.env->Open(path, Mode()));
  QR_ASSIGN_OR_RETURN(segment->bytes, segment->file->Size());
  std::string data(segment->bytes, '\0');
  QR_ASSIGN_OR_RETURN(const size_t got, segment->file->ReadAt(0, data.size(), data.data()));
  data.resize(got);
  const absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(data, path);
  // A new segment's name is made before its header is synced: a crash in between leaves a last
  // segment without a valid header, or with that of the file's earlier use. Nothing in it can have
  // been acknowledged. The very first segment may be all there is; no later one may.
  const bool earlier_use = header.ok() && header->sequence != sequence;
  const bool no_header = absl::IsDataLoss(header.status()) && !HoldsRecords(data);
  if (is_last && ((earlier_use && !segments_.empty()) ||
                  (no_header && (!segments_.empty() || sequence == 1)))) {
    if (options_.read_only) return absl::OkStatus();
    LogWarn("removed a log segment whose creation a crash cut off", {{"file", path}});
    segment->file.reset();
    QR_RETURN_IF_ERROR(options_.env->Remove(path));
    // Before anything is appended to the segment before it: should this one come back, that one
    // would be taken for complete.
    return options_.env->SyncDir(options_.dir);
  }
  if (absl::IsDataLoss(header.status())) {
    return absl::DataLossError(StrCat(header.status().message(), "; ", kWayOut));
  }
  QR_RETURN_IF_ERROR(header.status());
  if (earlier_use) {
    return Damaged(path, 16, StrCat("the file holds segment ", header->sequence, " of the log"));
  }
  if (segments_.empty()) {
    identity_ = header->identity;
    hard_state_ = header->hard_state;
    index_.Reset(header->first, header->term_before_first);
    last_scanned_ = header->first.Prev();
  }
  QR_RETURN_IF_ERROR(CheckHeader(*header, path));
  segment->header = *header;
  segments_[sequence] = segment;
  current_ = segment;
  return ScanRecords(*segment, data, is_last);
}

// The header of a segment says how the one before ended.
absl::Status SegmentedLog::CheckHeader(const SegmentHeader& header, const std::string& path) const {
  if (header.first.value() == 0) return Damaged(path, 24, "the segment begins with entry 0");
  if (segments_.empty()) return absl::OkStatus();
  const uint64_t before = segments_.rbegin()->first;
  if (header.sequence != before + 1) {
    return Damaged(path, 16, StrCat("segment ", before + 1, " of the log is missing before it"));
  }
  if (header.identity != identity_) {
    return absl::FailedPreconditionError(
        StrCat(path, ": offset 40: this segment belongs to member ",
               HexText(header.identity.member.value()), " of cluster ",
               HexText(header.identity.cluster.value()), " and those before it to member ",
               HexText(identity_.member.value()), " of cluster ",
               HexText(identity_.cluster.value()), ": files of two members are mixed; ", kWayOut));
  }
  const std::optional<Term> term = index_.TermAt(header.first.Prev());
  if (header.first != last_scanned_.Next() || (term && *term != header.term_before_first) ||
      header.hard_state != hard_state_) {
    return Damaged(PathOf(before), offset_,
                   StrCat("the log ends here at entry ", last_scanned_.value(), ", but segment ",
                          header.sequence, " was begun after more than that"));
  }
  return absl::OkStatus();
}

absl::Status SegmentedLog::ScanRecords(const Segment& segment, std::string_view data,
                                       bool is_last) {
  absl::Status damage;
  proven_bytes_ = 0;
  for (offset_ = kHeaderBlockBytes;;) {
    const absl::StatusOr<Record> record = DecodeRecord(
        data.substr(std::min<size_t>(offset_, data.size())), {segment.header.incarnation, offset_});
    damage = record.status();
    if (!record.ok() || record->fields.type == RecordType::kEnd) break;
    QR_RETURN_IF_ERROR(TakeRecord(segment, offset_, *record));
    // The header was synced before any record was written, the rest as the record says.
    proven_bytes_ = std::max(proven_bytes_, record->fields.synced_offset);
    last_crc_ = record->crc;
    offset_ += record->bytes;
  }
  synced_offset_ = offset_;
  return CheckTail(segment, data, is_last, damage);
}

absl::Status SegmentedLog::TakeRecord(const Segment& segment, uint64_t offset,
                                      const Record& record) {
  const std::string& path = segment.file->path();
  if (record.fields.type == RecordType::kHardState) {
    const absl::StatusOr<HardState> state = HardStateOf(record);
    if (!state.ok()) return Damaged(path, offset, ToStd(state.status().message()));
    hard_state_ = *state;
    return absl::OkStatus();
  }
  if (record.fields.type != RecordType::kEntry) {
    return Damaged(path, offset, "a record of an unknown kind");
  }
  const LogIndex index = record.fields.index;
  if (index.value() == 0 || index > last_scanned_.Next()) {
    return Damaged(
        path, offset,
        StrCat("entry ", index.value(), " does not follow entry ", last_scanned_.value()));
  }
  last_scanned_ = index;
  if (index < index_.first()) {
    // It replaced entries whose first segment has been cut off since.
    index_.PutBeforeFirst(index, record.fields.term);
  } else {
    index_.Put(index, {record.fields.term, segment.header.sequence, offset,
                       static_cast<uint32_t>(record.payload.size())});
  }
  return absl::OkStatus();
}

// Decides whether what stands at offset_ is the end, a torn tail to be dropped, or damage.
absl::Status SegmentedLog::CheckTail(const Segment& segment, std::string_view data, bool is_last,
                                     const absl::Status& damage) {
  const std::string& path = segment.file->path();
  const std::string_view what =
      damage.ok() ? std::string_view("a record is missing") : ToStd(damage.message());
  const Later later = FindLater(data, offset_, segment.header.incarnation);
  if (later.after || (later.any && !is_last)) {
    return Damaged(
        path, offset_,
        StrCat("the log is damaged (", what, ") before an intact record at offset ",
               later.after.value_or(later.any.value_or(0)), ": acknowledged writes are lost here"));
  }
  if (damage.ok() && !later.any) return absl::OkStatus();
  if (!is_last) {
    return Damaged(path, offset_,
                   StrCat("the log is damaged (", what, ") in a segment that was complete"));
  }
  LogWarn("dropped the torn tail of the log: an append that a crash cut off",
          {{"file", path}, {"offset", offset_}, {"last-entry", last_scanned_.value()}});
  return options_.read_only ? absl::OkStatus() : ClearTail(segment, data);
}

// Zeros from offset_ on: what is left of a torn write must not become part of the log when later
// appends happen to end where it begins.
absl::Status SegmentedLog::ClearTail(const Segment& segment, std::string_view data) {
  const size_t last = data.find_last_not_of('\0');
  if (last == std::string_view::npos || last < offset_) return absl::OkStatus();
  const std::string zeros(last + 1 - offset_, '\0');
  const std::string_view piece = zeros;
  QR_RETURN_IF_ERROR(segment.file->WriteAt(offset_, {&piece, 1}));
  return segment.file->Sync();
}

// A log whose end is lost still says how far it once went.
absl::Status SegmentedLog::CheckWhole() const {
  if (last_scanned_ >= index_.first().Prev() && hard_state_.commit <= last_scanned_) {
    return absl::OkStatus();
  }
  return Damaged(current_->file->path(), offset_,
                 StrCat("the log ends at entry ", last_scanned_.value(), ", but entry ",
                        std::max(hard_state_.commit, index_.first().Prev()).value(),
                        " was committed: acknowledged writes are lost here"));
}

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
