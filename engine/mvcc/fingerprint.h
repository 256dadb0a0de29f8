// Fingerprint: FNV-1a, 128 bits, in place of a key where a job looks at all keys: the names of a
// million of them would take more memory than all the rest of it.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace quorate::engine {

using Fingerprint = std::pair<uint64_t, uint64_t>;

inline Fingerprint FingerprintOf(std::string_view key) {
  constexpr unsigned __int128 kOffset =
      static_cast<unsigned __int128>(0x6c62272e07bb0142) << 64 | 0x62b821756295c58d;
  constexpr unsigned __int128 kPrime = static_cast<unsigned __int128>(1) << 88 | 0x13b;
  unsigned __int128 hash = kOffset;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
  return {static_cast<uint64_t>(hash >> 64), static_cast<uint64_t>(hash)};
}

}  // namespace quorate::engine
