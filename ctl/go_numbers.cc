#include "ctl/go_numbers.h"

#include <charconv>

#include "base/text.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

template <class Number>
absl::StatusOr<Number> Parse(std::string_view text, int base, std::string_view function) {
  const bool has_plus = text.starts_with("+") && !text.starts_with("+-");
  const std::string_view digits = has_plus && std::is_signed_v<Number> ? text.substr(1) : text;
  Number number = 0;
  const char* const last = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), last, number, base);
  if (error == std::errc() && end == last) return number;
  const bool too_large = error == std::errc::result_out_of_range && end == last;
  return absl::InvalidArgumentError(
      ToAbsl(StrCat("strconv.", function, ": parsing ", GoQuote(text),
                    too_large ? ": value out of range" : ": invalid syntax")));
}

}  // namespace

absl::StatusOr<int64_t> ParseGoInt(std::string_view text, int base) {
  return Parse<int64_t>(text, base, "ParseInt");
}

absl::StatusOr<uint64_t> ParseGoUint(std::string_view text, int base) {
  return Parse<uint64_t>(text, base, "ParseUint");
}

}  // namespace quorate::ctl
