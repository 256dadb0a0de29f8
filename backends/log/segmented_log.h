// SegmentedLog: the log on disk, in segment files of a fixed size (layout: segment.cc). Behind
// LogStore; not included from outside this room.
//
// A file "<sequence>.seg" (16 hex digits) is one segment. One that begins the log anew makes all
// before it void. Its incarnation is new for every use of a
// file, so what a recycled file held before is never taken for a record. A segment is left only
// when all of it is synced. Hence damage is a torn tail exactly if it lies in the last segment and
// no valid record behind it was written after that place had been synced; anything else is damage
// to what may have been acknowledged. What cannot be told from a torn tail is damage to the very
// last batch of the log: the backend's applied index and the hard state's commit then say so.
//
// segmented_log.cc appends, cuts and reads; segmented_log_open.cc opens and repairs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/log/entry_index.h"
#include "backends/log/log_store.h"
#include "backends/log/record_batch.h"
#include "backends/log/segment.h"

namespace quorate::log {

class SegmentedLog final : public LogStore {
 public:
  explicit SegmentedLog(LogOptions options) : options_(std::move(options)) {}

  absl::Status Create(const LogIdentity& identity);
  absl::Status Open();

  absl::Status Append(std::span<const Entry> entries, const HardState* hard_state) override;
  absl::Status Sync() override;
  absl::Status TruncatePrefix(LogIndex index) override;
  absl::Status Reset(LogIndex index, Term term, const HardState* hard_state) override;
  absl::Status Read(LogIndex first, LogIndex last,
                    absl::FunctionRef<bool(const Entry&)> visitor) const override;
  std::optional<Term> TermAt(LogIndex index) const override;
  LogIndex first_index() const override;
  LogIndex last_index() const override;
  HardState hard_state() const override;
  LogIdentity identity() const override { return identity_; }
  LogStats stats() const override;

 private:
  struct Segment {
    SegmentHeader header;
    std::unique_ptr<File> file;
    uint64_t bytes = 0;  // of the file
  };
  // Entries of one segment that are read together.
  struct ReadChunk {
    std::shared_ptr<Segment> segment;
    std::vector<EntryPlace> places;
  };

  std::string PathOf(uint64_t sequence) const;
  WriteMode Mode() const {
    return options_.sync == LogSync::kDsync ? WriteMode::kDataSync : WriteMode::kBuffered;
  }

  // --- writing
  absl::Status AppendBatch(std::span<const Entry> entries, const HardState* hard_state);
  absl::Status WriteBatch(std::span<const Entry> entries, const HardState* hard_state,
                          uint64_t payload_bytes);
  absl::Status WriteZerosAhead(uint64_t batch_bytes);
  absl::Status StartSegment(uint64_t record_bytes);
  absl::Status StartSegmentAs(SegmentHeader header, uint64_t record_bytes);
  absl::Status ResetTo(LogIndex index, Term term, const HardState& hard_state);
  absl::StatusOr<std::unique_ptr<File>> TakeSpareOrCreate(const std::string& path, uint64_t bytes);
  void KeepSpareAhead();
  absl::Status Retire(const Segment& segment);

  // --- reading
  ReadChunk NextChunk(LogIndex index, LogIndex last) const;
  absl::StatusOr<std::optional<LogIndex>> VisitChunk(
      LogIndex index, const ReadChunk& chunk, absl::FunctionRef<bool(const Entry&)> visitor) const;
  absl::Status NotInLog(LogIndex index) const;

  // --- opening
  absl::StatusOr<std::vector<uint64_t>> ListSegments();
  absl::StatusOr<size_t> FindBeginning(const std::vector<uint64_t>& sequences) const;
  absl::Status ScanSegment(uint64_t sequence, bool is_last);
  absl::Status CheckHeader(const SegmentHeader& header, const std::string& path) const;
  absl::Status ScanRecords(const Segment& segment, std::string_view data, bool is_last);
  absl::Status TakeRecord(const Segment& segment, uint64_t offset, const Record& record);
  absl::Status CheckTail(const Segment& segment, std::string_view data, bool is_last,
                         const absl::Status& damage);
  absl::Status ClearTail(const Segment& segment, std::string_view data);
  absl::Status MakeDurable();
  absl::Status CheckWhole() const;

  const LogOptions options_;
  LogIdentity identity_;

  mutable std::mutex mutex_;  // guards what readers look at; held for no I/O
  std::map<uint64_t, std::shared_ptr<Segment>> segments_;  // by sequence
  EntryIndex index_;
  HardState hard_state_;
  uint64_t bytes_appended_ = 0;
  uint64_t syncs_ = 0;

  // Writer thread only.
  absl::Status failed_;  // the first failure of Append or Sync; nothing is written after it
  std::shared_ptr<Segment> current_;
  uint64_t offset_ = 0;         // where the next record goes
  uint64_t synced_offset_ = 0;  // of the current segment
  // Up to where blocks of the current segment were written since they were reserved; a file that
  // was opened again counts as written up to the last record.
  uint64_t written_through_ = 0;
  uint32_t last_crc_ = 0;  // of the last record
  RecordBatch batch_;
  std::vector<std::string> spares_;  // paths of files of segment_bytes, ready to be used
  bool told_no_spare_ = false;
  // While opening.
  LogIndex last_scanned_;      // the entry that the next one may follow
  uint64_t proven_bytes_ = 0;  // of the segment: a sync of them is known to have succeeded
};

}  // namespace quorate::log
