// One segment file of the log and the layout of its records; see segmented_log.cc for the whole.
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
inline constexpr uint32_t kFormatVersion = 1;

enum class RecordType : uint8_t { kEnd = 0, kEntry = 1, kHardState = 2 };

struct SegmentHeader {
  uint64_t sequence = 0;
  LogIndex first;          // of the first entry written to it
  Term term_before_first;  // term of entry first - 1
  LogIdentity identity;
  uint64_t incarnation = 0;
  HardState hard_state;  // as of creation
};

std::string EncodeSegmentHeader(const SegmentHeader& header);  // kHeaderBlockBytes long
// kDataLoss or kFailedPrecondition (newer format) naming `path`.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view block, const std::string& path);

inline uint64_t PaddedRecordBytes(uint64_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + 7) / 8 * 8;
}

// Fills `out` (kRecordHeaderBytes) for a record at `offset` with this payload.
struct RecordFields {
  RecordType type = RecordType::kEnd;
  EntryType entry_type = EntryType::kNormal;
  // Up to where this segment was synced when the record was written: damage before that point
  // cannot be a torn tail.
  uint64_t synced_offset = kHeaderBlockBytes;
  Term term;
  LogIndex index;
};
void EncodeRecordHeader(const RecordFields& fields, std::string_view payload, uint64_t incarnation,
                        uint64_t offset, char* out);

struct Record {
  RecordFields fields;
  std::string_view payload;
  uint64_t bytes = 0;  // with header and padding
};
// What stands at `offset` of `data`: a record, the end (type kEnd, bytes 0), or kDataLoss when it
// is neither. `file_offset` is where that place lies in the file.
absl::StatusOr<Record> DecodeRecord(std::string_view data, uint64_t offset, uint64_t incarnation,
                                    uint64_t file_offset);

}  // namespace quorate::log
