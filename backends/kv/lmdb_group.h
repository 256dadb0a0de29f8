// The list that LMDB keeps under a key of its greatest length: all keys that begin with it, by what
// follows. u32 suffix bytes, u32 value bytes (little-endian), suffix, value; in order of the
// suffix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quorate::kv {

struct GroupEntry {
  std::string_view suffix;
  std::string_view value;
};

// Takes the first entry off `list`; nothing when the list is empty or broken (then it stays).
std::optional<GroupEntry> TakeGroupEntry(std::string_view* list);
std::optional<std::string_view> FindInGroup(std::string_view list, std::string_view suffix);
// The list with `suffix` set to `value`, or without it.
std::string ChangedGroup(std::string_view list, std::string_view suffix,
                         std::optional<std::string_view> value);

}  // namespace quorate::kv
