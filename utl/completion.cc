#include "utl/completion.h"

#include <algorithm>

#include "base/text.h"

namespace quorate::utl {
namespace {

// What can follow `words` ("" or "snapshot" or "snapshot status"), with a space between.
struct Choice {
  std::string words;
  std::vector<std::string> follow;
};

std::vector<Choice> ChoicesOf(const std::vector<Command>& commands,
                              const std::vector<OptionSpec>& global_flags) {
  std::vector<Choice> choices = {{"", {"completion", "help", "version"}}};
  const auto add = [&](const std::string& words, const std::string& next) {
    for (Choice& choice : choices) {
      if (choice.words != words) continue;
      for (const std::string& known : choice.follow) {
        if (known == next) return;
      }
      choice.follow.push_back(next);
      return;
    }
    choices.push_back({words, {next}});
  };
  for (const Command& command : commands) {
    const auto [first, second] = SplitOnce(command.name, ' ');
    add("", std::string(first));
    if (!second.empty()) add(std::string(first), std::string(second));
    for (const OptionSpec& flag : command.flags) add(command.name, StrCat("--", flag.name));
    for (const OptionSpec& flag : global_flags) add(command.name, StrCat("--", flag.name));
  }
  for (const char* shell : {"bash", "zsh", "fish", "powershell"}) add("completion", shell);
  return choices;
}

// Shared by bash and zsh (which loads bash's completions).
std::string BashScript(const std::vector<Choice>& choices) {
  std::string out = R"(_quorateutl() {
  local word words=""
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] || words="${words:+$words }$word"
  done
  case "$words" in
)";
  for (const Choice& choice : choices) {
    // A command may be followed by names of files.
    const bool command = !choice.follow.empty() && choice.follow[0].starts_with("--");
    StrAppend(&out, "    \"", choice.words, "\"", command ? "*" : "",
              ") COMPREPLY=($(compgen -W \"", StrJoin(choice.follow, " "), "\"",
              command ? " -A file" : "", " -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n");
  }
  return out + "  esac\n}\ncomplete -o default -F _quorateutl quorateutl\n";
}

std::string FishScript(const std::vector<Choice>& choices) {
  std::string out = R"(function __quorateutl_words
  set -l words (commandline -opc | string match -v -- '-*')
  string join ' ' $words[2..]
end
)";
  for (const Choice& choice : choices) {
    StrAppend(&out, "complete -c quorateutl -n 'test (__quorateutl_words) = \"", choice.words,
              "\"' -a '", StrJoin(choice.follow, " "), "'\n");
  }
  return out;
}

std::string PowershellScript(const std::vector<Choice>& choices) {
  std::string out = R"(Register-ArgumentCompleter -Native -CommandName quorateutl -ScriptBlock {
  param($word, $ast, $position)
  $words = $ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" } |
    Where-Object { -not $_.StartsWith('-') -and $_ -ne $word }
  $follow = switch (($words -join ' ')) {
)";
  for (const Choice& choice : choices) {
    StrAppend(&out, "    '", choice.words, "' { '", StrJoin(choice.follow, "', '"), "' }\n");
  }
  return out + "  }\n  $follow | Where-Object { $_.StartsWith($word) }\n}\n";
}

constexpr std::string_view kHelp = R"(Prints a completion script for a shell

Usage:
  quorateutl completion <bash|zsh|fish|powershell>

  source <(quorateutl completion bash)         for this shell; or for all of them
  quorateutl completion bash > /etc/bash_completion.d/quorateutl
  quorateutl completion zsh > "${fpath[1]}/_quorateutl"
  quorateutl completion fish > ~/.config/fish/completions/quorateutl.fish
)";

}  // namespace

int Completion(const std::vector<std::string>& args, const std::vector<Command>& commands,
               const std::vector<OptionSpec>& global_flags) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    Out(kHelp);
    return kExitOk;
  }
  const std::string shell = args.size() == 2 ? args[1] : "";
  const std::vector<Choice> choices = ChoicesOf(commands, global_flags);
  if (shell == "bash") {
    Out(BashScript(choices));
  } else if (shell == "zsh") {
    Out("#compdef quorateutl\nautoload -U +X bashcompinit && bashcompinit\n" + BashScript(choices));
  } else if (shell == "fish") {
    Out(FishScript(choices));
  } else if (shell == "powershell") {
    Out(PowershellScript(choices));
  } else {
    return Fail(kExitError, "completion needs the name of a shell: bash, zsh, fish or powershell");
  }
  return kExitOk;
}

}  // namespace quorate::utl
