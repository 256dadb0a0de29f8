// Polynomial 0x1EDC6F41, reflected 0x82F63B78 (RFC 3720, appendix B.4). The table path takes eight
// bytes a step ("slicing by 8").
#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace quorate {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82f63b78;

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t slice = 1; slice < tables.size(); ++slice) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t LoadWord(const char* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Crc32cHardware(uint32_t crc, std::string_view data) {
  uint64_t state = ~crc;
  while (data.size() >= sizeof(uint64_t)) {
    state = _mm_crc32_u64(state, LoadWord(data.data()));
    data.remove_prefix(sizeof(uint64_t));
  }
  auto narrow = static_cast<uint32_t>(state);
  for (const char c : data) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(c));
  return ~narrow;
}
#endif

using Function = uint32_t (*)(uint32_t, std::string_view);

Function Choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return Crc32cHardware;
#endif
  return Crc32cPortable;
}

}  // namespace

uint32_t Crc32cPortable(uint32_t crc, std::string_view data) {
  uint32_t state = ~crc;
  // Reads words as little-endian, as every machine does that this is built for.
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  while (data.size() >= sizeof(uint64_t)) {
    const uint64_t word = LoadWord(data.data()) ^ state;
    state = 0;
    for (size_t i = 0; i < sizeof(uint64_t); ++i) {
      state ^= kTables[sizeof(uint64_t) - 1 - i][word >> (8 * i) & 0xff];
    }
    data.remove_prefix(sizeof(uint64_t));
  }
  for (const char c : data) {
    state = state >> 8 ^ kTables[0][(state ^ static_cast<unsigned char>(c)) & 0xff];
  }
  return ~state;
}

uint32_t Crc32c(uint32_t crc, std::string_view data) {
  static const Function function = Choose();
  return function(crc, data);
}

}  // namespace quorate
