// Pieces of JSON written by hand where a document object would be too much (log lines, metrics).
// Any input bytes give valid JSON: what is not UTF-8 becomes U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace quorate {

// Appends `text` as a JSON string with its quotes.
void AppendJsonString(std::string_view text, std::string* out);
std::string JsonString(std::string_view text);

// Shortest digits that read back as the same number; NaN and infinities as "NaN", "+Inf", "-Inf"
// in quotes, since JSON has no such numbers.
std::string JsonNumber(double value);

// Length in bytes of the UTF-8 character at the front of `text`; 0 when there is no valid one
// (overlong forms, surrogates and values above U+10FFFF are invalid).
size_t Utf8CharSize(std::string_view text);

bool IsUtf8(std::string_view text);

}  // namespace quorate
