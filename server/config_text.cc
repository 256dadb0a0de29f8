#include "server/config_text.h"

#include <set>

#include "base/text.h"

namespace quorate::server {
namespace {

constexpr size_t kWidth = 96;

constexpr char kHead[] =
    R"(# Options of quorate(8), read with --config-file. With this file flags and ETCD_* variables are not
# looked at. Every option is shown with its default and explained; take the "#" away to set one.
# Names are those of the flags. Lists are separated by commas; durations are written as 500ms or 1m30s.
)";

void AppendComment(const std::string& text, std::string* out) {
  std::string line(1, '#');
  for (std::string_view word : StrSplit(text, ' ')) {
    if (line.size() + 1 + word.size() > kWidth) {
      StrAppend(out, line, "\n");
      line.assign(1, '#');
    }
    StrAppend(&line, " ", word);
  }
  StrAppend(out, line, "\n");
}

// In quotes where YAML would read something else than the text.
std::string Scalar(const OptionSpec& spec) {
  using Type = OptionSpec::Type;
  const bool plain = spec.type == Type::kBool || spec.type == Type::kInt ||
                     spec.type == Type::kUint || spec.type == Type::kDuration ||
                     spec.type == Type::kBytes || spec.type == Type::kChoice;
  return plain ? spec.default_text : StrCat("'", spec.default_text, "'");
}

}  // namespace

std::string ConfigFileText(const std::vector<OptionSpec>& specs) {
  static const auto* only_flags = new std::set<std::string, std::less<>>{
      "config-file", "help", "version", "print-config", "force-new-cluster"};
  std::string out = kHead;
  std::string group;
  for (const OptionSpec& spec : specs) {
    if (spec.hidden || !spec.no_effect.empty() || only_flags->contains(spec.name)) continue;
    if (spec.group != group) {
      group = spec.group;
      StrAppend(&out, "\n# ----- ", group, "\n");
    }
    out += "\n";
    AppendComment(spec.help, &out);
    if (!spec.choices.empty()) AppendComment(StrCat("One of: ", StrJoin(spec.choices, ", ")), &out);
    StrAppend(&out, "#", spec.name, ": ", Scalar(spec), "\n");
  }
  return out;
}

}  // namespace quorate::server
