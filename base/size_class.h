// The block sizes of the arena: multiples of 16 up to 128 bytes, then four steps per doubling, so a
// block is at most a quarter larger than what was asked for.
#pragma once

#include <bit>
#include <cstddef>

namespace quorate {

inline constexpr size_t kBlockAlignment = 16;
inline constexpr size_t kFineMaxBytes = 128;
inline constexpr size_t kFineClasses = kFineMaxBytes / kBlockAlignment;
inline constexpr size_t kStepsPerDoubling = 4;
inline constexpr size_t kClassMaxBytes = size_t{16} << 20;  // larger blocks have no class

constexpr size_t SizeClassOf(size_t size) {
  if (size <= kFineMaxBytes) return size == 0 ? 0 : (size - 1) / kBlockAlignment;
  const size_t width = static_cast<size_t>(std::bit_width(size - 1));
  const size_t step = (size - 1) >> (width - 3);  // the top three bits: 4 to 7
  return kFineClasses + (width - 8) * kStepsPerDoubling + (step - kStepsPerDoubling);
}

constexpr size_t SizeOfClass(size_t size_class) {
  if (size_class < kFineClasses) return (size_class + 1) * kBlockAlignment;
  const size_t doubling = (size_class - kFineClasses) / kStepsPerDoubling;
  const size_t step = (size_class - kFineClasses) % kStepsPerDoubling;
  return (kStepsPerDoubling + 1 + step) << (doubling + 5);
}

inline constexpr size_t kSizeClasses = SizeClassOf(kClassMaxBytes) + 1;
static_assert(SizeOfClass(kSizeClasses - 1) == kClassMaxBytes);
static_assert(SizeOfClass(SizeClassOf(129)) == 160 && SizeOfClass(SizeClassOf(160)) == 160);

}  // namespace quorate
