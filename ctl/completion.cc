#include "ctl/completion.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/global_flags.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;
using Words = std::vector<std::string>;

const std::map<std::string, Words, std::less<>>& ValuesOfFlags() {
  static const std::map<std::string, Words, std::less<>> values = {
      {"consistency", {"l", "s"}},
      {"load", {"s", "m", "l", "xl"}},
      {"order", {"ASCEND", "DESCEND"}},
      {"sort-by", {"CREATE", "KEY", "MODIFY", "VALUE", "VERSION"}},
      {"write-out", {"fields", "json", "protobuf", "simple", "table"}},
  };
  return values;
}

// The name of a flag as typed: "--limit", "-w". Empty: the word is none.
std::string_view FlagName(std::string_view word) {
  if (word.size() == 2 && word[0] == '-') return FlagOfLetter(word[1]);
  if (!ConsumePrefix(&word, "--")) return "";
  return word;
}

const OptionSpec* FindFlag(const std::vector<OptionSpec>& flags, std::string_view name) {
  const auto it = std::find_if(flags.begin(), flags.end(),
                               [&](const OptionSpec& flag) { return flag.name == name; });
  return it == flags.end() ? nullptr : &*it;
}

// The words before the last that are neither flags nor values of flags.
Words PlainWords(const Words& words, const std::vector<OptionSpec>& flags) {
  Words plain;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (!words[i].starts_with("-")) {
      plain.push_back(words[i]);
      continue;
    }
    const OptionSpec* flag = FindFlag(flags, FlagName(words[i]));
    if (flag != nullptr && flag->type != Type::kBool) ++i;
  }
  return plain;
}

class Completer {
 public:
  explicit Completer(const Words& words) : last_(words.back()) {}

  void Offer(std::string text, std::string help = "") {
    const bool known = std::any_of(found_.begin(), found_.end(),
                                   [&](const Completion& c) { return c.text == text; });
    if (!known && text.starts_with(last_)) found_.push_back({std::move(text), std::move(help)});
  }
  void OfferValues(std::string_view flag, std::string_view front) {
    const auto it = ValuesOfFlags().find(flag);
    if (it == ValuesOfFlags().end()) return;
    for (const std::string& value : it->second) Offer(StrCat(front, value));
  }
  void OfferCommands(const Words& plain) {
    for (const CommandGroup& group : CommandGroups()) {
      for (const Command& command : group.commands) {
        const auto [first, second] = SplitOnce(command.name, ' ');
        if (plain.empty()) {
          Offer(std::string(first), second.empty() ? command.help : StrCat(first, " commands"));
        } else if (plain.size() == 1 && first == plain[0] && !second.empty()) {
          Offer(std::string(second), command.help);
        }
      }
    }
  }
  std::vector<Completion> Take() { return std::move(found_); }

 private:
  const std::string last_;
  std::vector<Completion> found_;
};

void OfferWords(const Command& command, size_t place, Completer* completer) {
  Words words;
  if (command.name == "completion" && place == 0) words = {"bash", "fish", "zsh"};
  if (command.name == "role grant-permission" && place == 1) words = {"read", "readwrite", "write"};
  for (const std::string& word : words) completer->Offer(word);
}

constexpr char kBash[] =
    R"(# Completion of quoratectl for bash: source <(quoratectl completion bash)
_quoratectl() {
  local line=${COMP_LINE:0:COMP_POINT} words candidates
  read -r -a words <<<"$line"
  if [[ $line == *[[:space:]] ]]; then words+=(""); fi
  mapfile -t candidates < <(quoratectl __complete "${words[@]:1}" 2>/dev/null | cut -f 1)
  # bash takes what stands behind a "=" for a word of its own.
  local last=${words[-1]} front=""
  if [[ $last == *=* ]]; then front=${last%%=*}=; fi
  COMPREPLY=("${candidates[@]#"$front"}")
}
complete -o default -F _quoratectl quoratectl
)";

constexpr char kZsh[] = R"(#compdef quoratectl
# Completion of quoratectl for zsh: source <(quoratectl completion zsh), or as a file _quoratectl in $fpath.
_quoratectl() {
  local -a lines described
  local line
  lines=("${(@f)$(quoratectl __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#described )); then _describe -t commands quoratectl described; else _files; fi
}
if [[ ${funcstack[1]} == _quoratectl ]]; then _quoratectl "$@"; else compdef _quoratectl quoratectl; fi
)";

constexpr char kFish[] = R"(# Completion of quoratectl for fish: quoratectl completion fish | source
function __quoratectl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    quoratectl __complete $words[2..-1] "$current" 2>/dev/null
end
complete -c quoratectl -f -a '(__quoratectl_complete)'
)";

int PrintScript(Session* session) {
  const Words& words = session->words();
  if (words.size() != 1) {
    return Fail(kExitError, StrCat("completion takes the name of a shell, and got ", words.size(),
                                   " words (bash, fish, zsh)"));
  }
  if (words[0] == "bash") {
    Out(kBash);
  } else if (words[0] == "zsh") {
    Out(kZsh);
  } else if (words[0] == "fish") {
    Out(kFish);
  } else {
    return Fail(kExitError,
                StrCat("no completion is written for \"", words[0], "\" (bash, fish, zsh)"));
  }
  return kExitOk;
}

}  // namespace

std::vector<Completion> Complete(const Words& words) {
  if (words.empty()) return {};
  Completer completer(words);
  std::vector<OptionSpec> flags = GlobalFlags();
  const Found found = FindCommand(PlainWords(words, flags));
  if (found.command != nullptr) {
    flags.insert(flags.begin(), found.command->flags.begin(), found.command->flags.end());
  }
  const std::string& last = words.back();
  const OptionSpec* before =
      words.size() < 2 ? nullptr : FindFlag(flags, FlagName(words[words.size() - 2]));
  if (before != nullptr && before->type != Type::kBool) {
    completer.OfferValues(before->name, "");
    return completer.Take();
  }
  if (const size_t equals = last.find('='); last.starts_with("--") && equals != last.npos) {
    completer.OfferValues(last.substr(2, equals - 2), last.substr(0, equals + 1));
    return completer.Take();
  }
  if (last.starts_with("-")) {
    for (const OptionSpec& flag : flags) {
      if (!flag.hidden) completer.Offer(StrCat("--", flag.name), flag.help);
    }
    return completer.Take();
  }
  const Words plain = PlainWords(words, flags);
  if (found.command == nullptr) {
    completer.OfferCommands(plain);
  } else if (found.command->name == "help") {
    completer.OfferCommands({plain.begin() + 1, plain.end()});
  } else {
    OfferWords(*found.command, plain.size() - found.words, &completer);
  }
  return completer.Take();
}

int PrintCompletions(const Words& words) {
  for (const Completion& completion : Complete(words)) {
    Out(StrCat(completion.text, "\t", completion.help, "\n"));
  }
  return kExitOk;
}

std::vector<Command> CompletionCommands() {
  return {{"completion",
           "<bash|fish|zsh>",
           "Writes the script by which a shell completes these commands",
           {},
           PrintScript,
           "  source <(quoratectl completion bash)         for this shell; or for all of them\n"
           "  quoratectl completion bash > /etc/bash_completion.d/quoratectl\n"
           "  quoratectl completion zsh > \"${fpath[1]}/_quoratectl\"\n"
           "  quoratectl completion fish > ~/.config/fish/completions/quoratectl.fish",
           Asks::kNobody}};
}

}  // namespace quorate::ctl
