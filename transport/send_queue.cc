#include "transport/send_queue.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "transport/grpc_wire.h"

namespace quorate::transport {

size_t SendQueue::Push(Message message, Compress compress) {
  Item& item = items_.emplace_back();
  const uint64_t size = message.size();
  QR_CHECK(size <= UINT32_MAX);
  item.message = std::move(message);
  if (item.message.source != nullptr) {
    // Sources are for what is too large to hold; a message may be sent plain on any stream.
    item.source_left = size;
    EncodeMessagePrefix(item.prefix, /*compressed=*/false, static_cast<uint32_t>(size));
    return sizeof(item.prefix) + size;
  }
  if (compress == Compress::kGzip) {
    Bytes packed = GzipCompress(item.message.pieces);
    EncodeMessagePrefix(item.prefix, /*compressed=*/true, static_cast<uint32_t>(packed.size()));
    const size_t framed = sizeof(item.prefix) + packed.size();
    item.message.pieces.clear();
    item.message.pieces.push_back(std::move(packed));
    return framed;
  }
  EncodeMessagePrefix(item.prefix, /*compressed=*/false, static_cast<uint32_t>(size));
  return sizeof(item.prefix) + size;
}

SendQueue::Available SendQueue::Ready(size_t limit) const {
  size_t ready = 0;
  for (size_t i = first_; i < items_.size(); ++i) {
    const Item& item = items_[i];
    ready += sizeof(item.prefix) - item.prefix_taken;
    for (size_t p = item.piece; p < item.message.pieces.size(); ++p) {
      ready += item.message.pieces[p].size() - (p == item.piece ? item.piece_offset : 0);
      if (ready > limit) return {limit, false};
    }
    if (ready > limit) return {limit, false};
    if (item.source_left > 0) return {ready, false};
  }
  return {ready, true};
}

void SendQueue::Take(size_t count, OutputBuffer* out) {
  while (count > 0) {
    QR_CHECK(first_ < items_.size());
    Item& item = items_[first_];
    if (item.prefix_taken < sizeof(item.prefix)) {
      const size_t taken = std::min(count, sizeof(item.prefix) - item.prefix_taken);
      out->Append(std::string_view(item.prefix + item.prefix_taken, taken));
      item.prefix_taken = static_cast<uint8_t>(item.prefix_taken + taken);
      count -= taken;
    }
    auto& pieces = item.message.pieces;
    while (item.piece < pieces.size()) {
      Bytes& piece = pieces[item.piece];
      const size_t taken = std::min(count, piece.size() - item.piece_offset);
      if (taken == piece.size()) {
        out->Append(piece);
      } else if (taken > 0) {
        out->Append(piece.Slice(item.piece_offset, taken));
      }
      item.piece_offset += taken;
      count -= taken;
      if (item.piece_offset < piece.size()) break;
      piece = Bytes();
      ++item.piece;
      item.piece_offset = 0;
    }
    if (!Exhausted(item)) {
      QR_CHECK(count == 0);
      break;
    }
    item.message = Message();
    ++first_;
  }
  if (first_ == items_.size()) {
    Clear();
  } else if (first_ > 64 && first_ > items_.size() / 2) {
    items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

MessageSource* SendQueue::SourceToPull() {
  if (pulling_ || empty()) return nullptr;
  Item& item = items_[first_];
  if (item.source_left == 0 || item.piece < item.message.pieces.size()) return nullptr;
  pulling_ = true;
  item.message.pieces.clear();
  item.piece = 0;
  return item.message.source.get();
}

void SendQueue::AddPulled(Bytes bytes) {
  orphan_.reset();
  if (!pulling_) return;
  pulling_ = false;
  Item& item = items_[first_];
  QR_CHECK_MSG(!bytes.empty() && bytes.size() <= item.source_left,
               "a MessageSource delivered nothing or more than its size");
  item.source_left -= bytes.size();
  item.message.pieces.push_back(std::move(bytes));
}

uint64_t SendQueue::SourceBytesLeft() const { return empty() ? 0 : items_[first_].source_left; }

void SendQueue::Clear() {
  if (pulling_) orphan_ = std::move(items_[first_].message.source);
  pulling_ = false;
  items_.clear();
  first_ = 0;
  if (items_.capacity() > 16) items_.shrink_to_fit();
}

}  // namespace quorate::transport
