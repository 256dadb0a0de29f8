// What the fuzz targets share: the entry point that libFuzzer and replay.cc call, and cutting an
// input into parts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

// One input, once. Finds by ending the process; returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace quorate::fuzz {

// Reads an input from its front; what is not there reads as zero or empty.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    const std::string_view byte = Take(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte.front());
  }
  uint32_t Number() {  // 16 bits
    const uint32_t high = Byte();
    return high << 8 | Byte();
  }
  std::string_view Take(size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // A length of 16 bits, then so many bytes.
  std::string_view Part() { return Take(Number()); }
  std::string_view Rest() { return Take(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace quorate::fuzz
