// OptionValues::HelpText: what --help prints.
#include <algorithm>

#include "base/options.h"
#include "base/text.h"

namespace quorate {
namespace {

constexpr size_t kLineWidth = 100;
constexpr size_t kTextColumnMax = 40;  // longer flags get their text on the next line

std::string_view TypeName(OptionSpec::Type type) {
  switch (type) {
    case OptionSpec::Type::kBool:
      return "";
    case OptionSpec::Type::kInt:
      return "INT";
    case OptionSpec::Type::kUint:
      return "UINT";
    case OptionSpec::Type::kBytes:
      return "BYTES";
    case OptionSpec::Type::kDuration:
      return "DURATION";
    case OptionSpec::Type::kString:
      return "STRING";
    case OptionSpec::Type::kChoice:
      return "NAME";
    case OptionSpec::Type::kStringList:
      return "LIST";
  }
  return "";
}

std::string FlagHead(const OptionSpec& spec) {
  const std::string_view type = TypeName(spec.type);
  return StrCat("  --", spec.name, type.empty() ? "" : " ", type);
}

std::string FlagText(const OptionSpec& spec) {
  std::string text = spec.help;
  std::vector<std::string> notes;
  if (!spec.choices.empty()) {
    notes.push_back(StrCat("one of: ", StrJoin(spec.choices, ", ")));
  }
  if (spec.type == OptionSpec::Type::kBool) {
    notes.push_back(StrCat("default ", spec.default_text));
  } else if (!spec.default_text.empty()) {
    notes.push_back(StrCat("default \"", spec.default_text, "\""));
  }
  if (!spec.no_effect.empty()) notes.push_back(StrCat("no effect here: ", spec.no_effect));
  if (!notes.empty()) StrAppend(&text, text.empty() ? "(" : " (", StrJoin(notes, "; "), ")");
  return text;
}

// Appends `text` at `column`, broken between words; the cursor stands at `at` in the last line.
void AppendWrapped(std::string_view text, size_t column, size_t at, std::string* out) {
  bool line_is_empty = true;
  const auto indent = [&] {
    out->append(column - at, ' ');
    at = column;
    line_is_empty = true;
  };
  indent();
  for (const std::string_view word : StrSplit(text, ' ')) {
    if (word.empty()) continue;
    if (!line_is_empty && at + 1 + word.size() > kLineWidth) {
      *out += '\n';
      at = 0;
      indent();
    }
    if (!line_is_empty) {
      *out += ' ';
      ++at;
    }
    out->append(word);
    at += word.size();
    line_is_empty = false;
  }
  *out += '\n';
}

}  // namespace

std::string OptionValues::HelpText() const {
  std::vector<std::string_view> groups;
  size_t column = 0;
  for (const OptionSpec& spec : specs_) {
    if (spec.hidden) continue;
    if (std::find(groups.begin(), groups.end(), spec.group) == groups.end()) {
      groups.push_back(spec.group);
    }
    const size_t width = FlagHead(spec).size() + 2;
    if (width <= kTextColumnMax) column = std::max(column, width);
  }
  std::string out;
  for (const std::string_view group : groups) {
    if (!out.empty()) out += '\n';
    if (!group.empty()) StrAppend(&out, group, ":\n");
    for (const OptionSpec& spec : specs_) {
      if (spec.hidden || spec.group != group) continue;
      const std::string head = FlagHead(spec);
      out += head;
      size_t at = head.size();
      if (at + 2 > column) {
        out += '\n';
        at = 0;
      }
      AppendWrapped(FlagText(spec), std::max<size_t>(column, 6), at, &out);
    }
  }
  return out;
}

}  // namespace quorate
