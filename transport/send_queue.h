// SendQueue: the messages of one stream that HTTP/2 flow control has not taken yet, as a run of
// framed bytes. Pieces are referred to, never copied together; a MessageSource holds at most what
// was pulled last. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "transport/output_buffer.h"
#include "transport/rpc.h"

namespace quorate::transport {

class SendQueue {
 public:
  enum class Compress { kNo, kGzip };

  // The message's size must fit the frame header. Returns its framed size.
  size_t Push(Message message, Compress compress);

  bool empty() const { return first_ == items_.size(); }
  struct Available {
    size_t bytes;  // that Take can deliver now, counted up to `limit`
    bool all;      // they are all that is queued
  };
  Available Ready(size_t limit) const;
  // `count` is at most what is ready.
  void Take(size_t count, OutputBuffer* out);

  // The source whose bytes are needed next, or null. Pull from it once and give the result to
  // AddPulled; until then this answers null. A source lives until its pending pull came back, even
  // if the queue was cleared meanwhile.
  MessageSource* SourceToPull();
  void AddPulled(Bytes bytes);
  // What the source at the front still owes.
  uint64_t SourceBytesLeft() const;

  void Clear();

 private:
  struct Item {
    Message message;
    uint64_t source_left = 0;  // not pulled yet
    uint32_t piece = 0;        // first one not wholly taken
    uint8_t prefix_taken = 0;
    char prefix[5];
    size_t piece_offset = 0;
  };
  static bool Exhausted(const Item& item) {
    return item.prefix_taken == sizeof(item.prefix) && item.source_left == 0 &&
           item.piece == item.message.pieces.size();
  }

  std::vector<Item> items_;
  size_t first_ = 0;
  bool pulling_ = false;
  std::unique_ptr<MessageSource> orphan_;
};

}  // namespace quorate::transport
