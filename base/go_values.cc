// The texts that Go's flag and time packages accept and print (their documentation:
// pkg.go.dev/flag, pkg.go.dev/time#ParseDuration), since etcd's users write these.
#include <array>
#include <charconv>
#include <limits>
#include <span>

#include "base/clock.h"
#include "base/options.h"
#include "base/text.h"

namespace quorate {
namespace {

struct Unit {
  std::string_view name;
  int64_t size;
};

constexpr std::array<Unit, 8> kDurationUnits = {{
    {"ns", 1},
    {"us", kNanosPerMicro},
    {"\u00b5s", kNanosPerMicro},  // micro sign
    {"\u03bcs", kNanosPerMicro},  // Greek letter mu
    {"ms", kNanosPerMilli},
    {"s", kNanosPerSecond},
    {"m", 60 * kNanosPerSecond},
    {"h", 3600 * kNanosPerSecond},
}};

constexpr std::array<Unit, 9> kByteUnits = {{
    {"B", 1},
    {"KiB", int64_t{1} << 10},
    {"MiB", int64_t{1} << 20},
    {"GiB", int64_t{1} << 30},
    {"TiB", int64_t{1} << 40},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

const Unit* FindUnit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

size_t DigitCount(std::string_view text) {
  size_t count = 0;
  while (count < text.size() && IsDigit(text[count])) ++count;
  return count;
}

// One "1.5h" taken off the front of *rest. Sums are kept as negative numbers, which reach one
// further than positive ones; *sum_ns is lowered by the part.
absl::Status TakeDurationPart(std::string_view whole, std::string_view* rest, int64_t* sum_ns) {
  const auto invalid = [whole](std::string_view why) {
    return absl::InvalidArgumentError(StrCat("invalid duration \"", whole, "\": ", why));
  };
  const size_t before = DigitCount(*rest);
  const std::string_view integer = rest->substr(0, before);
  rest->remove_prefix(before);
  std::string_view fraction;
  if (!rest->empty() && rest->front() == '.') {
    rest->remove_prefix(1);
    fraction = rest->substr(0, DigitCount(*rest));
    rest->remove_prefix(fraction.size());
  }
  if (integer.empty() && fraction.empty()) return invalid("expected a number such as 10s or 1.5h");
  size_t unit_size = 0;
  while (unit_size < rest->size() && (*rest)[unit_size] != '.' && !IsDigit((*rest)[unit_size])) {
    ++unit_size;
  }
  if (unit_size == 0) return invalid("missing unit; known: ns, us, ms, s, m, h");
  const Unit* unit = FindUnit(kDurationUnits, rest->substr(0, unit_size));
  if (unit == nullptr) {
    return invalid(
        StrCat("unknown unit \"", rest->substr(0, unit_size), "\"; known: ns, us, ms, s, m, h"));
  }
  rest->remove_prefix(unit_size);

  int64_t count = 0;
  for (const char c : integer) {
    if (__builtin_mul_overflow(count, 10, &count) ||
        __builtin_sub_overflow(count, c - '0', &count)) {
      return invalid("too large");
    }
  }
  int64_t part;
  if (__builtin_mul_overflow(count, unit->size, &part)) return invalid("too large");
  // Go keeps as many digits as fit in 63 bits and scales by doubles; equal rounding needs the same.
  uint64_t numerator = 0;
  double denominator = 1;
  for (const char c : fraction) {
    if (numerator > static_cast<uint64_t>(INT64_MAX) / 10) break;
    const uint64_t next = numerator * 10 + static_cast<uint64_t>(c - '0');
    if (next > uint64_t{1} << 63) break;
    numerator = next;
    denominator *= 10;
  }
  const auto fraction_ns = static_cast<int64_t>(static_cast<double>(numerator) *
                                                (static_cast<double>(unit->size) / denominator));
  if (__builtin_sub_overflow(part, fraction_ns, &part) ||
      __builtin_add_overflow(*sum_ns, part, sum_ns)) {
    return invalid("too large");
  }
  return absl::OkStatus();
}

// `value` divided by `unit_size`, with as many decimals as it takes, no trailing zeros.
std::string WithFraction(uint64_t value, uint64_t unit_size) {
  std::string text = StrCat(value / unit_size);
  uint64_t remainder = value % unit_size;
  if (remainder == 0) return text;
  text += '.';
  for (uint64_t digit = unit_size / 10; remainder != 0; digit /= 10) {
    text += static_cast<char>('0' + remainder / digit);
    remainder %= digit;
  }
  return text;
}

}  // namespace

absl::StatusOr<int64_t> ParseGoDuration(std::string_view text) {
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return 0;
  if (rest.empty()) {
    return absl::InvalidArgumentError(
        StrCat("invalid duration \"", text, "\": expected a number such as 10s or 1.5h"));
  }
  int64_t sum_ns = 0;
  while (!rest.empty()) {
    if (absl::Status status = TakeDurationPart(text, &rest, &sum_ns); !status.ok()) return status;
  }
  if (negative) return sum_ns;
  if (sum_ns == std::numeric_limits<int64_t>::min()) {
    return absl::InvalidArgumentError(StrCat("invalid duration \"", text, "\": too large"));
  }
  return -sum_ns;
}

std::string FormatGoDuration(int64_t ns) {
  if (ns == 0) return "0s";
  const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  const std::string_view sign = ns < 0 ? "-" : "";
  if (size < kNanosPerMicro) return StrCat(sign, size, "ns");
  if (size < kNanosPerMilli) {
    return StrCat(sign, WithFraction(size, kNanosPerMicro), "\u00b5s");
  }
  if (size < kNanosPerSecond) return StrCat(sign, WithFraction(size, kNanosPerMilli), "ms");
  constexpr uint64_t kMinuteNs = 60 * kNanosPerSecond;
  const std::string seconds = WithFraction(size % kMinuteNs, kNanosPerSecond);
  const uint64_t minutes = size / kMinuteNs;
  if (minutes == 0) return StrCat(sign, seconds, "s");
  if (minutes < 60) return StrCat(sign, minutes, "m", seconds, "s");
  return StrCat(sign, minutes / 60, "h", minutes % 60, "m", seconds, "s");
}

absl::StatusOr<int64_t> ParseByteSize(std::string_view text) {
  const auto invalid = [text](std::string_view why) {
    return absl::InvalidArgumentError(StrCat("invalid size \"", text, "\": ", why));
  };
  const size_t digits = DigitCount(text);
  if (digits == 0) return invalid("expected a whole number such as 4096, 64KiB or 1GiB");
  int64_t count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + digits, count);
  if (parsed.ec != std::errc()) return invalid("too large");
  const std::string_view suffix = text.substr(digits);
  const Unit* unit = FindUnit(kByteUnits, suffix.empty() ? "B" : suffix);
  if (unit == nullptr) {
    return invalid(
        StrCat("unknown unit \"", suffix, "\"; known: B, KiB, MiB, GiB, TiB, KB, MB, GB, TB"));
  }
  int64_t bytes;
  if (__builtin_mul_overflow(count, unit->size, &bytes)) return invalid("too large");
  return bytes;
}

absl::StatusOr<bool> ParseGoBool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return absl::InvalidArgumentError(
      StrCat("invalid boolean \"", text, "\"; known: true, false, 1, 0, t, f"));
}

}  // namespace quorate
