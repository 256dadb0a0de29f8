#include "transport/output_buffer.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace quorate::transport {

IoResult OutputBuffer::WriteTo(ByteSocket* socket) {
  constexpr size_t kPiecesPerWrite = 64;
  std::array<iovec, kPiecesPerWrite> pieces;
  // What the socket took earlier may still wait inside it.
  if (size_ == 0 && socket->WaitsForWritable(ByteSocket::Output::kNone)) {
    return socket->Write(nullptr, 0);
  }
  while (size_ > 0) {
    size_t count = 0;
    size_t bytes = 0;
    size_t copied_at = copied_offset_;
    for (size_t i = first_; i < segments_.size() && count < pieces.size(); ++i, ++count) {
      const size_t skip = i == first_ ? first_offset_ : 0;
      const size_t left = segments_[i].size - skip;
      const char* data;
      if (segments_[i].piece.empty()) {
        data = copied_.data() + copied_at;
        copied_at += left;
      } else {
        data = segments_[i].piece.data() + skip;
      }
      pieces[count] = {const_cast<char*>(data), left};
      bytes += left;
    }
    const IoResult result = socket->Write(pieces.data(), static_cast<int>(count));
    if (result.kind != IoResult::Kind::kDone) return result;
    Consume(result.bytes);
    // A short write means a full socket: asking again would only cost a system call.
    if (result.bytes < bytes) return {IoResult::Kind::kBlocked, 0};
  }
  return {IoResult::Kind::kDone, 0};
}

void OutputBuffer::Append(OutputBuffer* other) {
  QR_CHECK(other->first_ == 0 && other->first_offset_ == 0 && other->copied_offset_ == 0);
  std::string_view copied = other->copied_;
  for (Segment& segment : other->segments_) {
    if (segment.piece.empty()) {
      Append(copied.substr(0, segment.size));
      copied.remove_prefix(segment.size);
    } else {
      Append(segment.piece);
    }
  }
  other->segments_.clear();
  other->copied_.clear();
  other->size_ = 0;
}

void OutputBuffer::Consume(size_t count) {
  size_ -= count;
  while (count > 0) {
    Segment& segment = segments_[first_];
    const size_t taken = std::min(count, segment.size - first_offset_);
    if (segment.piece.empty()) copied_offset_ += taken;
    first_offset_ += taken;
    count -= taken;
    if (first_offset_ == segment.size) {
      segment.piece = Bytes();
      ++first_;
      first_offset_ = 0;
    }
  }
  if (size_ == 0) {
    copied_.clear();
    segments_.clear();
    first_ = copied_offset_ = 0;
    return;
  }
  // A socket that is never quite empty must not let the written part grow without end.
  if (copied_offset_ > 65536 && copied_offset_ > copied_.size() / 2) {
    copied_.erase(0, copied_offset_);
    copied_offset_ = 0;
  }
  if (first_ > 1024) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

}  // namespace quorate::transport
