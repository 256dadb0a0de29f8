#include "engine/auth/base64.h"

#include <cstdint>

namespace quorate::engine {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::optional<std::string> DecodeStdBase64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int digits = 0;   // of the present group of four
  int padding = 0;  // once it began nothing else may follow
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      if (digits + padding < 2 || digits + padding == 4) return std::nullopt;
      ++padding;
      continue;
    }
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos || padding != 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++digits < 4) continue;
    for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(bits >> shift));
    bits = 0;
    digits = 0;
  }
  if (digits == 0 && padding == 0) return out;
  if (digits + padding != 4) return std::nullopt;
  bits <<= 6 * padding;
  out.push_back(static_cast<char>(bits >> 16));
  if (padding == 1) out.push_back(static_cast<char>(bits >> 8));
  return out;
}

}  // namespace quorate::engine
