#include "server/gateway/base64.h"

#include <cstdint>

namespace quorate::server {
namespace {

int SextetOf(char c, bool url_safe) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == (url_safe ? '-' : '+')) return 62;
  return c == (url_safe ? '_' : '/') ? 63 : -1;
}

}  // namespace

std::optional<std::string> DecodeJsonBytes(std::string_view text) {
  const bool url_safe = text.find_first_of("-_") != std::string_view::npos;
  std::string out;
  uint32_t bits = 0;
  size_t sextets = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\r' || c == '\n') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int sextet = SextetOf(c, url_safe);
    if (sextet < 0 || padding > 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(sextet);
    if (++sextets % 4 == 0) {
      out.push_back(static_cast<char>(bits >> 16));
      out.push_back(static_cast<char>(bits >> 8));
      out.push_back(static_cast<char>(bits));
    }
  }
  const size_t left = sextets % 4;
  if (left == 1 || (padding != 0 && (left == 0 || left + padding != 4))) return std::nullopt;
  if (left == 2) out.push_back(static_cast<char>(bits >> 4));
  if (left == 3) {
    out.push_back(static_cast<char>(bits >> 10));
    out.push_back(static_cast<char>(bits >> 2));
  }
  return out;
}

}  // namespace quorate::server
