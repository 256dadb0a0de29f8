#include "backends/log/record_batch.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quorate::log {

void RecordBatch::Begin(const Start& start, size_t records, uint64_t payload_bytes) {
  place_ = start.place;
  synced_offset_ = start.synced_offset;
  last_crc_ = 0;
  used_ = 0;
  pieces_.clear();
  // Pieces point into the buffer, so it must not move: room for all that may be copied.
  const uint64_t copied = std::min<uint64_t>(payload_bytes, records * kCopyBytesMax);
  const uint64_t room =
      copied + records * (kRecordHeaderBytes + kRecordAlignment) + kRecordHeaderBytes;
  if (buffer_.size() < room) buffer_.resize(room);
}

char* RecordBatch::Take(size_t bytes) {
  QR_CHECK(used_ + bytes <= buffer_.size());
  char* out = buffer_.data() + used_;
  used_ += bytes;
  if (!pieces_.empty() && pieces_.back().data() + pieces_.back().size() == out) {
    pieces_.back() = {pieces_.back().data(), pieces_.back().size() + bytes};
  } else {
    pieces_.emplace_back(out, bytes);
  }
  return out;
}

uint64_t RecordBatch::Add(RecordFields fields, std::string_view payload) {
  const uint64_t offset = place_.offset;
  const uint64_t padded = PaddedRecordBytes(payload.size());
  fields.synced_offset = synced_offset_;
  last_crc_ = EncodeRecordHeader(fields, payload, place_, Take(kRecordHeaderBytes));
  if (payload.size() > kCopyBytesMax) {
    pieces_.push_back(payload);
  } else if (!payload.empty()) {
    memcpy(Take(payload.size()), payload.data(), payload.size());
  }
  const size_t pad = padded - kRecordHeaderBytes - payload.size();
  if (pad != 0) memset(Take(pad), 0, pad);
  place_.offset += padded;
  return offset;
}

std::span<const std::string_view> RecordBatch::Finish() {
  memset(Take(kRecordHeaderBytes), 0, kRecordHeaderBytes);
  return pieces_;
}

}  // namespace quorate::log
