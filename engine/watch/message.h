// WatchResponses as pieces: a small head per watch (header, watch_id) and shared slices of event
// blocks; plus the control messages, which carry no events.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "engine/watch/event_block.h"
#include "engine/watch/hub.h"

namespace quorate::engine {

// Makes heads of event messages. Many streams use the same few watch ids, so the last head is
// kept and shared while nothing in it changes.
class HeadMaker {
 public:
  enum class Fragment { kLast, kMoreFollow };
  // Fixes header fields and revision for the heads that follow.
  void SetHeader(const HeaderFields& fields, int64_t revision);
  Bytes Make(int64_t watch_id, Fragment fragment);

 private:
  std::array<char, 46> header_{};  // tag, length, four varint fields
  size_t header_bytes_ = 0;
  int64_t last_id_ = 0;
  Bytes last_head_;  // of last_id_ without fragment; empty = none
};

// A response without events.
struct ControlMessage {
  int64_t watch_id = 0;
  int64_t revision = 0;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
};
Bytes EncodeControl(const HeaderFields& fields, const ControlMessage& message);

// Head and events, ready to send. Neighbouring events become one slice of their block; a few small
// events out of a large block are copied, so that a queued message never keeps much more memory
// than it shows.
std::vector<Bytes> Assemble(Bytes head, absl::Span<const EventPick> picks);

// How many of `picks` go into the next message of at most about `limit_bytes` (etcd's rule: at
// least one event; the message stays below the limit otherwise).
size_t FragmentLength(size_t head_bytes, absl::Span<const EventPick> picks, uint64_t limit_bytes);

inline const EventBlock::Entry& EntryOf(const EventPick& pick) {
  return pick.block->entries[pick.index];
}

}  // namespace quorate::engine
