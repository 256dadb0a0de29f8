#include "workloads/value.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/random.h"

namespace quorate::workload {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are copied as they lie");

// Noise, so that no store gains from compressing it; the same in every run, so that a value of an
// earlier run verifies as well.
constexpr size_t kNoiseBytes = size_t{1} << 16;

const char* Noise() {
  static const auto noise = [] {
    std::array<uint64_t, kNoiseBytes / 8> words;
    Random random(0x5eed);
    for (uint64_t& word : words) word = random.Next();
    return words;
  }();
  return reinterpret_cast<const char*>(noise.data());
}

struct RawHeader {
  ValueHeader header;
  uint32_t size;
  uint32_t check;
};
static_assert(sizeof(RawHeader) == kValueHeaderSize && offsetof(RawHeader, size) == 24);

uint32_t CheckOf(const ValueHeader& header, uint32_t size) {
  uint64_t mixed = Mix64(uint64_t{header.run} << 32 | header.key_hash);
  mixed = Mix64(mixed ^ header.tag());
  mixed = Mix64(mixed ^ static_cast<uint64_t>(header.intended_ns));
  return static_cast<uint32_t>(Mix64(mixed ^ size) >> 32);
}

// Calls `piece(noise, offset, length)` for the parts of the fill until one says false.
template <class F>
bool ForFill(uint32_t check, size_t size, F&& piece) {
  size_t from = check % kNoiseBytes;
  for (size_t done = 0; done < size;) {
    const size_t length = std::min(size - done, kNoiseBytes - from);
    if (!piece(Noise() + from, done, length)) return false;
    done += length;
    from = 0;
  }
  return true;
}

}  // namespace

uint64_t Mix64(uint64_t x) {
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44d;
  return x ^ (x >> 33);
}

uint32_t KeyHash(std::string_view key) {
  uint64_t hash = key.size();
  while (key.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, key.data(), 8);
    hash = Mix64(hash ^ word);
    key.remove_prefix(8);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, key.data(), key.size());
  return static_cast<uint32_t>(Mix64(hash ^ rest) >> 32);
}

void WriteValue(const ValueHeader& header, size_t size, char* out) {
  QR_CHECK(size >= kValueHeaderSize && size <= UINT32_MAX);
  const auto size32 = static_cast<uint32_t>(size);
  const RawHeader raw{header, size32, CheckOf(header, size32)};
  std::memcpy(out, &raw, sizeof(raw));
  out += sizeof(raw);
  ForFill(raw.check, size - kValueHeaderSize, [&](const char* noise, size_t at, size_t length) {
    std::memcpy(out + at, noise, length);
    return true;
  });
}

std::string_view ValueFaultText(ValueFault fault) {
  switch (fault) {
    case ValueFault::kNone:
      return "intact";
    case ValueFault::kTooShort:
      return "shorter than a value's header";
    case ValueFault::kHeaderDamaged:
      return "header damaged, or not written by quorate-bench";
    case ValueFault::kSizeWrong:
      return "of another size than was written";
    case ValueFault::kFillWrong:
      return "damaged behind its header";
    case ValueFault::kOtherKey:
      return "written to another key";
  }
  return "";
}

ValueFault ReadValue(std::string_view value, uint32_t key_hash, ValueHeader* header) {
  if (value.size() < kValueHeaderSize) return ValueFault::kTooShort;
  RawHeader raw;
  std::memcpy(&raw, value.data(), sizeof(raw));
  *header = raw.header;
  if (raw.check != CheckOf(raw.header, raw.size)) return ValueFault::kHeaderDamaged;
  if (raw.size != value.size()) return ValueFault::kSizeWrong;
  const char* fill = value.data() + kValueHeaderSize;
  const auto same = [&](const char* noise, size_t at, size_t length) {
    return std::memcmp(fill + at, noise, length) == 0;
  };
  if (!ForFill(raw.check, value.size() - kValueHeaderSize, same)) return ValueFault::kFillWrong;
  return raw.header.key_hash == key_hash ? ValueFault::kNone : ValueFault::kOtherKey;
}

}  // namespace quorate::workload
