#include "base/options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/edit_distance.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate {
namespace {

using Type = OptionSpec::Type;

// Whole numbers as Go's flag package takes them: decimal, 0x, 0o, 0b, and octal by a leading 0.
absl::StatusOr<int64_t> ParseGoInt(std::string_view text) {
  std::string_view digits = text;
  const bool negative = !digits.empty() && digits.front() == '-';
  if (negative || (!digits.empty() && digits.front() == '+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    digits.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  uint64_t size = 0;
  const char* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, size, base);
  if (parsed.ec == std::errc::invalid_argument || parsed.ptr != end) {
    return absl::InvalidArgumentError(
        StrCat("invalid value \"", text, "\": expected a whole number"));
  }
  const uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0);
  if (parsed.ec != std::errc() || size > limit) {
    return absl::InvalidArgumentError(
        StrCat("invalid value \"", text, "\": does not fit in 64 bits"));
  }
  return static_cast<int64_t>(negative ? 0 - size : size);
}

std::string ShowNumber(Type type, int64_t number) {
  return type == Type::kDuration ? FormatGoDuration(number) : StrCat(number);
}

absl::Status CheckBounds(const OptionSpec& spec, std::string_view text, int64_t number) {
  const int64_t min = spec.type == Type::kUint || spec.type == Type::kBytes
                          ? std::max<int64_t>(spec.min, 0)
                          : spec.min;
  if (number < min) {
    return absl::InvalidArgumentError(StrCat("invalid value \"", text, "\": at least ",
                                             ShowNumber(spec.type, min), " is needed"));
  }
  if (number > spec.max) {
    return absl::InvalidArgumentError(StrCat("invalid value \"", text, "\": at most ",
                                             ShowNumber(spec.type, spec.max), " is possible"));
  }
  return absl::OkStatus();
}

// The number that `text` means for this option; 0 for texts. Checks bounds and choices.
absl::StatusOr<int64_t> ParseValue(const OptionSpec& spec, std::string_view text) {
  int64_t number = 0;
  switch (spec.type) {
    case Type::kBool: {
      QR_ASSIGN_OR_RETURN(const bool value, ParseGoBool(text));
      return value ? 1 : 0;
    }
    case Type::kInt:
    case Type::kUint: {
      QR_ASSIGN_OR_RETURN(number, ParseGoInt(text));
      break;
    }
    case Type::kBytes: {
      QR_ASSIGN_OR_RETURN(number, ParseByteSize(text));
      break;
    }
    case Type::kDuration: {
      QR_ASSIGN_OR_RETURN(number, ParseGoDuration(text));
      break;
    }
    case Type::kChoice: {
      if (std::find(spec.choices.begin(), spec.choices.end(), text) != spec.choices.end()) return 0;
      return absl::InvalidArgumentError(
          StrCat("unknown value \"", text, "\"; known: ", StrJoin(spec.choices, ", ")));
    }
    case Type::kString:
    case Type::kStringList:
      return 0;
  }
  QR_RETURN_IF_ERROR(CheckBounds(spec, text, number));
  return number;
}

}  // namespace

OptionValues::OptionValues(std::vector<OptionSpec> specs) : specs_(std::move(specs)) {
  values_.reserve(specs_.size());
  for (const OptionSpec& spec : specs_) {
    const bool is_new = by_name_.emplace(spec.name, values_.size()).second;
    QR_CHECK_MSG(is_new, StrCat("option ", spec.name, " is declared twice"));
    const absl::StatusOr<int64_t> number = ParseValue(spec, spec.default_text);
    QR_CHECK_MSG(number.ok(),
                 StrCat("default of option ", spec.name, ": ", number.status().message()));
    values_.push_back(Value{.text = spec.default_text, .number = *number});
  }
}

absl::Status OptionValues::Set(std::string_view name, std::string_view text, OptionSource source,
                               std::string_view where) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    return absl::InvalidArgumentError(
        StrCat(where, ": unknown option \"", name, "\"", ClosestNamesHint(name, "")));
  }
  const absl::StatusOr<int64_t> number = ParseValue(specs_[found->second], text);
  if (!number.ok()) {
    return absl::InvalidArgumentError(StrCat(where, ": ", number.status().message()));
  }
  values_[found->second] = Value{.text = std::string(text), .source = source, .number = *number};
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> OptionValues::ParseFlags(
    const std::vector<std::string>& args) {
  std::vector<std::string> words;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view flag = args[i];
    if (flag == "--") {
      words.insert(words.end(), args.begin() + static_cast<ptrdiff_t>(i) + 1, args.end());
      break;
    }
    if (flag.size() < 2 || flag[0] != '-') {
      words.emplace_back(flag);
      continue;
    }
    flag.remove_prefix(flag[1] == '-' ? 2 : 1);
    const size_t equals = flag.find('=');
    const std::string_view name = flag.substr(0, equals);
    const OptionSpec* spec = Find(name);
    if (spec == nullptr) {
      return absl::InvalidArgumentError(StrCat(
          "unknown flag ", args[i].substr(0, args[i].find('=')), ClosestNamesHint(name, "--")));
    }
    const std::string where = StrCat("--", name);
    std::string_view text = "true";
    if (equals != std::string_view::npos) {
      text = flag.substr(equals + 1);
    } else if (spec->type != Type::kBool) {
      if (i + 1 == args.size()) {
        return absl::InvalidArgumentError(StrCat(where, ": needs a value: ", where, "=VALUE"));
      }
      text = args[++i];
    }
    QR_RETURN_IF_ERROR(Set(name, text, OptionSource::kFlag, where));
  }
  return words;
}

std::string OptionValues::ClosestNamesHint(std::string_view name, std::string_view prefix) const {
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : specs_) names.push_back(spec.name);
  const std::vector<std::string_view> closest = ClosestNames(name, names);
  if (closest.empty()) return "; --help lists the known ones";
  return StrCat("; did you mean ", prefix, StrJoin(closest, StrCat(" or ", prefix)), "?");
}

const OptionSpec* OptionValues::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &specs_[found->second];
}

size_t OptionValues::IndexOf(std::string_view name) const {
  const auto found = by_name_.find(name);
  QR_CHECK_MSG(found != by_name_.end(), StrCat("no option is named ", name));
  return found->second;
}

bool OptionValues::GetBool(std::string_view name) const {
  const size_t index = IndexOf(name);
  QR_CHECK_MSG(specs_[index].type == Type::kBool, name);
  return values_[index].number != 0;
}

int64_t OptionValues::GetInt(std::string_view name) const {
  const size_t index = IndexOf(name);
  const Type type = specs_[index].type;
  QR_CHECK_MSG(
      type == Type::kInt || type == Type::kUint || type == Type::kBytes || type == Type::kDuration,
      name);
  return values_[index].number;
}

const std::string& OptionValues::GetString(std::string_view name) const {
  const size_t index = IndexOf(name);
  QR_CHECK_MSG(specs_[index].type == Type::kString || specs_[index].type == Type::kChoice, name);
  return values_[index].text;
}

std::vector<std::string> OptionValues::GetList(std::string_view name) const {
  const size_t index = IndexOf(name);
  QR_CHECK_MSG(specs_[index].type == Type::kStringList, name);
  std::vector<std::string> items;
  for (const std::string_view item : StrSplit(values_[index].text, ',')) {
    if (!item.empty()) items.emplace_back(item);
  }
  return items;
}

OptionSource OptionValues::Source(std::string_view name) const {
  return values_[IndexOf(name)].source;
}

const std::string& OptionValues::Text(std::string_view name) const {
  return values_[IndexOf(name)].text;
}

}  // namespace quorate
