// One segment file of the log: the layout of its header and of its records (written down in
// segment.cc and docs/formats/log.md). Pure functions; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/log/log_store.h"
#include "base/file_env.h"
#include "base/log_entry.h"

namespace quorate::log {

inline constexpr uint64_t kHeaderBlockBytes = 4096;
inline constexpr uint32_t kRecordHeaderBytes = 32;
inline constexpr uint32_t kRecordAlignment = 8;
inline constexpr uint32_t kFormatVersion = 1;

enum class RecordType : uint8_t { kEnd = 0, kEntry = 1, kHardState = 2 };

struct SegmentHeader {
  uint64_t sequence = 0;
  // Entries from here on are not in older segments: one behind the last entry at creation. A record
  // in this one may all the same replace an older entry.
  LogIndex first;
  Term term_before_first;  // of entry first - 1, at creation
  LogIdentity identity;
  uint64_t incarnation = 0;
  HardState hard_state;  // as of creation
  // A snapshot up to `first` - 1 took the place of all that older segments hold.
  bool begins_anew = false;
};

std::string EncodeSegmentHeader(const SegmentHeader& header);  // kHeaderBlockBytes long
// kDataLoss or kFailedPrecondition (newer format) naming `path`.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view block, const std::string& path);

inline uint64_t PaddedRecordBytes(uint64_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + kRecordAlignment - 1) / kRecordAlignment *
         kRecordAlignment;
}

struct RecordFields {
  RecordType type = RecordType::kEnd;
  EntryType entry_type = EntryType::kNormal;
  // Up to where this segment was synced when the record was written: damage before that point
  // cannot be a torn tail.
  uint64_t synced_offset = kHeaderBlockBytes;
  Term term;
  LogIndex index;  // of a hard state: its commit
};

// Where a record lies; part of its checksums, so that it is not taken for one anywhere else, nor in
// another use of the file.
struct RecordPlace {
  uint64_t incarnation = 0;
  uint64_t offset = 0;  // in the file
};

// Fills `out` (kRecordHeaderBytes) for a record at `place` with this payload; returns its checksum.
uint32_t EncodeRecordHeader(const RecordFields& fields, std::string_view payload,
                            const RecordPlace& place, char* out);

struct Record {
  RecordFields fields;
  std::string_view payload;
  uint64_t bytes = 0;  // with header and padding
  uint32_t crc = 0;
};
// What stands at the beginning of `data`, which was read from `place`: a record, the end (type
// kEnd, bytes 0), or kDataLoss when it is neither.
absl::StatusOr<Record> DecodeRecord(std::string_view data, const RecordPlace& place);

// What a reset of the log makes of the hard state (LogStore::Reset).
HardState HardStateAfterReset(HardState state, LogIndex index, Term term);

// A hard state as a record: its payload is the vote.
inline constexpr size_t kVoteBytes = 8;
void EncodeVote(MemberId vote, char* out);
// kDataLoss when the payload has another size.
absl::StatusOr<HardState> HardStateOf(const Record& record);

}  // namespace quorate::log
