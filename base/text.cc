#include "base/text.h"

#include <cstdio>

namespace quorate {
namespace text_internal {

size_t Piece::FormatDouble(double number, char* digits) {
  return static_cast<size_t>(std::snprintf(digits, sizeof(Piece::digits_), "%g", number));
}

void AppendPieces(std::string* out, std::initializer_list<std::string_view> pieces) {
  size_t size = out->size();
  for (const std::string_view piece : pieces) size += piece.size();
  if (size > out->capacity()) out->reserve(size);
  for (const std::string_view piece : pieces) out->append(piece);
}

}  // namespace text_internal

std::vector<std::string_view> StrSplit(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string HexText(uint64_t value) {
  char digits[16];
  return {digits, std::to_chars(digits, digits + sizeof(digits), value, 16).ptr};
}

}  // namespace quorate
