// RecordBatch: one append as the pieces of one write. Headers and small payloads are gathered in a
// buffer that is used again; large payloads are referred to where they are.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backends/log/segment.h"

namespace quorate::log {

class RecordBatch {
 public:
  // Up to this size copying is cheaper than one more piece for the system call.
  static constexpr size_t kCopyBytesMax = 4096;

  // Where the first record goes, and up to where the segment is synced.
  struct Start {
    RecordPlace place;
    uint64_t synced_offset = 0;
  };
  // For at most `records` records of `payload_bytes` together.
  void Begin(const Start& start, size_t records, uint64_t payload_bytes);
  // The payload outlives the batch. Returns the offset in the file.
  uint64_t Add(RecordFields fields, std::string_view payload);
  // The pieces, with the end mark; valid until the next Begin.
  std::span<const std::string_view> Finish();

  uint64_t end_offset() const { return place_.offset; }  // behind the last record
  uint32_t last_crc() const { return last_crc_; }        // of the last record

 private:
  char* Take(size_t bytes);  // from the buffer, as part of the last piece where possible

  RecordPlace place_;
  uint64_t synced_offset_ = 0;
  uint32_t last_crc_ = 0;
  std::vector<char> buffer_;
  size_t used_ = 0;
  std::vector<std::string_view> pieces_;
};

}  // namespace quorate::log
