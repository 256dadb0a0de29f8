#include "ctl/commands.h"

#include <algorithm>
#include <set>

#include "base/text.h"

namespace quorate::ctl {
namespace {

// The one of `known` that is `word`, or the only one that begins with it.
std::string Complete(const std::set<std::string>& known, const std::string& word) {
  if (known.count(word) > 0) return word;
  const auto begins = [&](const std::string& name) { return name.starts_with(word); };
  if (word.empty() || std::count_if(known.begin(), known.end(), begins) != 1) return "";
  return *std::find_if(known.begin(), known.end(), begins);
}

// The words that may follow `front`: first words for "", second ones for "lease".
std::set<std::string> Following(const std::string& front) {
  std::set<std::string> words;
  for (const CommandGroup& group : CommandGroups()) {
    for (const Command& command : group.commands) {
      const auto [first, second] = SplitOnce(command.name, ' ');
      if (front.empty()) words.emplace(first);
      if (first == front && !second.empty()) words.emplace(second);
    }
  }
  return words;
}

const Command* Named(const std::string& name) {
  for (const CommandGroup& group : CommandGroups()) {
    for (const Command& command : group.commands) {
      if (command.name == name) return &command;
    }
  }
  return nullptr;
}

}  // namespace

const std::vector<CommandGroup>& CommandGroups() {
  using Families = std::vector<std::vector<Command>>;
  const auto join = [](const Families& families) {
    std::vector<Command> all;
    for (const auto& family : families) all.insert(all.end(), family.begin(), family.end());
    return all;
  };
  static const std::vector<CommandGroup> groups = {
      {"Keys", join({KvCommands(), TxnCommands(), WatchCommands(), LeaseCommands()})},
      {"Cluster",
       join({EndpointCommands(), MemberCommands(), MaintenanceCommands(), SnapshotCommands()})},
      {"Users and roles", join({AuthCommands(), UserCommands(), RoleCommands()})},
      {"Locks", join({LockCommands()})},
      {"Tools", join({MirrorCommands(), CheckCommands(), CompletionCommands(), ToolCommands()})},
  };
  return groups;
}

Found FindCommand(const std::vector<std::string>& words) {
  Found found;
  if (words.empty()) return found;
  const std::string first = Complete(Following(""), words[0]);
  if (first.empty()) return found;
  const std::set<std::string> seconds = Following(first);
  if (seconds.empty()) {
    found.command = Named(first);
    found.words = 1;
    return found;
  }
  found.group = first;
  const std::string second = words.size() > 1 ? Complete(seconds, words[1]) : "";
  found.words = second.empty() ? 1 : 2;
  if (!second.empty()) found.command = Named(StrCat(first, " ", second));
  return found;
}

std::vector<const Command*> CommandsOf(std::string_view group) {
  std::vector<const Command*> commands;
  for (const CommandGroup& part : CommandGroups()) {
    for (const Command& command : part.commands) {
      if (SplitOnce(command.name, ' ').first == group) commands.push_back(&command);
    }
  }
  return commands;
}

}  // namespace quorate::ctl
