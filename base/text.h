// Putting texts together and taking them apart, for std::string_view.
// Debian's Abseil is built with a string_view class of its own, to which std::string_view does not
// convert: absl::StrCat, StrAppend, StrJoin and StrSplit refuse it. These take both. Where Abseil
// itself wants its class, ToAbsl; what it returns (Status::message()), ToStd.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace quorate {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

namespace text_internal {

// A text, or a number with room for its digits. Lives as long as the expression that names it.
class Piece {
 public:
  Piece(std::string_view text) : view_(text) {}          // NOLINT: implicit on purpose
  Piece(const char* text) : view_(text) {}               // NOLINT
  Piece(const std::string& text) : view_(text) {}        // NOLINT
  Piece(absl::string_view text) : view_(ToStd(text)) {}  // NOLINT
  template <std::integral Number>
  requires(!std::same_as<Number, bool> && !std::same_as<Number, char>)
      Piece(Number number)  // NOLINT
      : view_(digits_, std::to_chars(digits_, digits_ + sizeof(digits_), number).ptr) {}
  Piece(double number)  // NOLINT: as %g prints it
      : view_(digits_, FormatDouble(number, digits_)) {}
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  std::string_view view() const { return view_; }

 private:
  static size_t FormatDouble(double number, char* digits);

  char digits_[24];
  std::string_view view_;
};

void AppendPieces(std::string* out, std::initializer_list<std::string_view> pieces);

}  // namespace text_internal

// The arguments (texts, whole numbers, doubles) behind each other.
template <class... Args>
void StrAppend(std::string* out, const Args&... args) {
  text_internal::AppendPieces(out, {text_internal::Piece(args).view()...});
}
template <class... Args>
std::string StrCat(const Args&... args) {
  std::string out;
  text_internal::AppendPieces(&out, {text_internal::Piece(args).view()...});
  return out;
}

// The items (anything StrCat takes) with `between` between them.
template <class Range>
std::string StrJoin(const Range& items, std::string_view between) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += between;
    first = false;
    StrAppend(&out, item);
  }
  return out;
}

// The parts between the separators, as views into `text`; empty parts are kept, and an empty text
// is one empty part.
std::vector<std::string_view> StrSplit(std::string_view text, char separator);

// Lower-case hexadecimal without padding, as etcd shows ids.
std::string HexText(uint64_t value);

// What stands before and behind the first separator; without one, the whole text and nothing.
inline std::pair<std::string_view, std::string_view> SplitOnce(std::string_view text,
                                                               char separator) {
  const size_t at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

// Removes `prefix` from the front of *text if it stands there; answers whether it did.
inline bool ConsumePrefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace quorate
