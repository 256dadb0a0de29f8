// OutputBuffer: what waits to be written to one socket. Small pieces are copied together, large
// ones are only referred to; all leaves with as few writev calls as possible. One thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "transport/byte_socket.h"

namespace quorate::transport {

class OutputBuffer {
 public:
  // Pieces of at least this size are not copied.
  static constexpr size_t kReferBytes = 4096;

  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    copied_.append(bytes);
    if (!segments_.empty() && segments_.back().piece.empty()) {
      segments_.back().size += bytes.size();
    } else {
      segments_.push_back({Bytes(), bytes.size()});
    }
    size_ += bytes.size();
  }
  void Append(const Bytes& piece) {
    if (piece.size() < kReferBytes) return Append(piece.view());
    segments_.push_back({piece, piece.size()});
    size_ += piece.size();
  }

  // Moves all of *other, of which nothing may have been written yet, behind the bytes here.
  void Append(OutputBuffer* other);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Writes until all is gone (kDone), the socket takes no more, or it is closed.
  IoResult WriteTo(ByteSocket* socket);

  // Memory held while empty.
  size_t capacity() const { return copied_.capacity(); }

 private:
  struct Segment {
    Bytes piece;  // empty: the next `size` bytes of copied_
    size_t size;
  };
  void Consume(size_t count);

  std::string copied_;
  std::vector<Segment> segments_;
  // What is already written: segments, bytes of the first remaining one, bytes of copied_ that
  // belong to written or partly written segments.
  size_t first_ = 0;
  size_t first_offset_ = 0;
  size_t copied_offset_ = 0;
  size_t size_ = 0;
};

}  // namespace quorate::transport
