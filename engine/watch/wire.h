// The tags that the hub writes by hand: heads and events are put together from shared parts, which
// generated code cannot do. Field numbers: etcdserverpb.proto and mvccpb.proto. Sizes and parsing:
// engine/mvcc/wire.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quorate::engine::watch_wire {

// Tags: field number << 3 | wire type (0 = varint, 2 = length-delimited).
inline constexpr char kWatchResponseHeader = 0x0a;    // 1, message
inline constexpr char kWatchResponseWatchId = 0x10;   // 2, int64
inline constexpr char kWatchResponseFragment = 0x38;  // 7, bool
inline constexpr char kWatchResponseEvents = 0x5a;    // 11, repeated message
inline constexpr char kHeaderClusterId = 0x08;        // 1, uint64
inline constexpr char kHeaderMemberId = 0x10;         // 2, uint64
inline constexpr char kHeaderRevision = 0x18;         // 3, int64
inline constexpr char kHeaderRaftTerm = 0x20;         // 4, uint64
inline constexpr char kEventType = 0x08;              // 1, enum
inline constexpr char kEventKv = 0x12;                // 2, message
inline constexpr char kEventPrevKv = 0x1a;            // 3, message
inline constexpr char kKeyValueKey = 0x0a;            // 1, bytes
inline constexpr char kKeyValueModRevision = 0x18;    // 3, int64

inline constexpr size_t kVarintBytesMax = 10;

inline char* WriteVarint(uint64_t value, char* out) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

}  // namespace quorate::engine::watch_wire
