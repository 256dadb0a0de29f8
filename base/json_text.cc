#include "base/json_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>

namespace quorate {
namespace {

void AppendEscaped(unsigned char c, std::string* out) {
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      break;
  }
  static constexpr char kHex[] = "0123456789abcdef";
  *out += "\\u00";
  *out += kHex[c >> 4];
  *out += kHex[c & 15];
}

bool NeedsEscape(unsigned char c) { return c < 0x20 || c == '"' || c == '\\' || c == 0x7f; }

}  // namespace

size_t Utf8CharSize(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  size_t size;
  uint32_t value;
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
    value = first & 0x1f;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    value = first & 0x0f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    value = first & 0x07;
  } else {
    return 0;
  }
  if (text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c & 0xc0) != 0x80) return 0;
    value = value << 6 | (c & 0x3f);
  }
  static constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return value < kSmallest[size] || value > 0x10ffff || surrogate ? 0 : size;
}

void AppendJsonString(std::string_view text, std::string* out) {
  *out += '"';
  size_t plain_from = 0;  // what lies between here and `i` is copied in one piece
  size_t i = 0;
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80 && !NeedsEscape(c)) {
      ++i;
      continue;
    }
    const size_t size = c < 0x80 ? 1 : Utf8CharSize(text.substr(i));
    if (size > 1) {
      i += size;
      continue;
    }
    out->append(text, plain_from, i - plain_from);
    if (size == 1) {
      AppendEscaped(c, out);
    } else {
      *out += "\\ufffd";
    }
    plain_from = ++i;
  }
  out->append(text, plain_from);
  *out += '"';
}

std::string JsonString(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  AppendJsonString(text, &out);
  return out;
}

std::string JsonNumber(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"+Inf\"" : "\"-Inf\"";
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = Utf8CharSize(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace quorate
