#include "backends/kv/lmdb_group.h"

namespace quorate::kv {
namespace {

uint32_t Load32(std::string_view data) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(data[i]);
  return value;
}

void Append32(uint32_t value, std::string* out) {
  for (int i = 0; i < 4; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void AppendEntry(GroupEntry entry, std::string* out) {
  Append32(static_cast<uint32_t>(entry.suffix.size()), out);
  Append32(static_cast<uint32_t>(entry.value.size()), out);
  out->append(entry.suffix);
  out->append(entry.value);
}

}  // namespace

std::optional<GroupEntry> TakeGroupEntry(std::string_view* list) {
  if (list->size() < 8) return std::nullopt;
  const uint64_t suffix_bytes = Load32(*list);
  const uint64_t value_bytes = Load32(list->substr(4));
  if (list->size() - 8 < suffix_bytes + value_bytes) return std::nullopt;
  const GroupEntry entry = {list->substr(8, suffix_bytes),
                            list->substr(8 + suffix_bytes, value_bytes)};
  list->remove_prefix(8 + suffix_bytes + value_bytes);
  return entry;
}

std::optional<std::string_view> FindInGroup(std::string_view list, std::string_view suffix) {
  while (const auto entry = TakeGroupEntry(&list)) {
    if (entry->suffix == suffix) return entry->value;
  }
  return std::nullopt;
}

std::string ChangedGroup(std::string_view list, std::string_view suffix,
                         std::optional<std::string_view> value) {
  std::string changed;
  while (const auto entry = TakeGroupEntry(&list)) {
    if (value.has_value() && entry->suffix >= suffix) {
      AppendEntry({suffix, *value}, &changed);
      value.reset();
    }
    if (entry->suffix != suffix) AppendEntry(*entry, &changed);
  }
  if (value.has_value()) AppendEntry({suffix, *value}, &changed);
  return changed;
}

}  // namespace quorate::kv
