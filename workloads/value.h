// The value of every put describes itself, so that whoever reads it back can tell whether it is
// the right one, whole, and when it was due:
//
//   0  u32 run        which run wrote it
//   4  u32 key hash   of the key it was written to
//   8  u32 writer     client number, from 1
//  12  u32 sequence   of the writer's puts, from 1
//  16  i64 intended   monotonic ns at which the put was due
//  24  u32 size       of the whole value
//  28  u32 check      over the fields above
//  32  fill           size - 32 bytes out of one fixed block of noise, from a place drawn by check
//
// little-endian. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quorate::workload {

inline constexpr size_t kValueHeaderSize = 32;

struct ValueHeader {
  uint32_t run = 0;
  uint32_t key_hash = 0;
  uint32_t writer = 0;
  uint32_t sequence = 0;
  int64_t intended_ns = 0;

  // Names one put of the run; never 0.
  uint64_t tag() const { return uint64_t{writer} << 32 | sequence; }
};

uint64_t Mix64(uint64_t x);  // a bijection that spreads every bit
uint32_t KeyHash(std::string_view key);

// Writes `size` >= kValueHeaderSize bytes.
void WriteValue(const ValueHeader& header, size_t size, char* out);

enum class ValueFault { kNone, kTooShort, kHeaderDamaged, kSizeWrong, kFillWrong, kOtherKey };
std::string_view ValueFaultText(ValueFault fault);

// Checks the whole value; *header is what it says about itself (meaningful unless it is too short
// or damaged).
ValueFault ReadValue(std::string_view value, uint32_t key_hash, ValueHeader* header);

}  // namespace quorate::workload
