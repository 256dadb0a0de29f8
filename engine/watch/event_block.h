// EventBlock: events encoded once, as they stand in WatchResponse.events (field 11 with tag and
// length), side by side in one buffer that all messages share. Runs of neighbours go out as one
// slice. Two variants exist: with and without prev_kv; each is built only if somebody wants it.
//
//   5a <length> | [08 01]  12 <length> <KeyValue>  [1a <length> <KeyValue>]
//   events = 11 | type = 1   kv = 2                  prev_kv = 3
//
// A put's KeyValue goes through untouched. A delete's holds key and mod_revision only, whatever the
// store keeps in its tombstones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/bytes.h"
#include "engine/mvcc/record.h"
#include "engine/watch/hub.h"

namespace quorate::engine {

enum class EventVariant : uint8_t { kPlain, kPrevKv };

struct EventBlock {
  struct Entry {
    uint64_t begin = 0, end = 0;  // in `buffer`; equal = this event is not in the block
    Bytes pinned;                 // a large value that follows, not copied
    size_t size() const { return end - begin + pinned.size(); }
  };
  Bytes buffer;
  std::vector<Entry> entries;
};

// Which event of which block goes into a message.
struct EventPick {
  const EventBlock* block;
  uint32_t index;
};

// What an event is made of. `kv` and `previous` are encoded KeyValues; `key` is a delete's key.
struct EventParts {
  RecordKind kind = RecordKind::kPut;
  int64_t main = 0;
  std::string_view key;
  std::string_view kv;
  std::optional<std::string_view> previous;
};

size_t EventBytes(const EventParts& parts);
// Writes EventBytes(parts) bytes and answers where they end. Without `previous` a put's KeyValue is
// the last thing written.
char* WriteEvent(const EventParts& parts, char* out);
void AppendEvent(const EventParts& parts, std::string* out);

// The blocks of one batch of the live path.
class BatchBlocks {
 public:
  BatchBlocks(EventBatchPtr batch, const WatchStore* store);

  // All needs are said before Build.
  void Need(uint32_t event, EventVariant variant) { needs_[event] |= Bit(variant); }
  // Error: previous records cannot be read; the plain block is there all the same.
  absl::Status Build();
  const EventBlock* Get(EventVariant variant) const { return &blocks_[Slot(variant)]; }

 private:
  static size_t Slot(EventVariant variant) { return variant == EventVariant::kPlain ? 0 : 1; }
  static uint8_t Bit(EventVariant variant) { return variant == EventVariant::kPlain ? 1 : 2; }
  bool IsNeeded(uint32_t event, EventVariant variant) const {
    return (needs_[event] & Bit(variant)) != 0;
  }
  EventParts PartsOf(uint32_t event) const;
  std::optional<RecordRef> PreviousOf(uint32_t event) const;
  void BuildPlain();
  absl::Status BuildWithPrevious();

  EventBatchPtr batch_;
  const WatchStore* store_;
  std::vector<uint8_t> needs_;  // per event, one bit per variant
  EventBlock blocks_[2];
};

}  // namespace quorate::engine
