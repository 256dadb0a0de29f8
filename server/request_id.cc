#include "server/request_id.h"

#include <cstdint>
#include <optional>

namespace quorate::server {
namespace {

constexpr uint64_t kHeaderField = 100;  // InternalRaftRequest.header
constexpr uint64_t kIdField = 1;        // RequestHeader.ID and ConfChange.ID

std::optional<uint64_t> TakeVarint(std::string_view* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes->size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>((*bytes)[i]);
    value |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) {
      bytes->remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

struct Field {
  uint64_t number = 0;
  uint64_t varint = 0;
  std::string_view bytes;
};

// The next field of a message; nullopt at its end, or where it cannot be read.
std::optional<Field> TakeField(std::string_view* message) {
  if (message->empty()) return std::nullopt;
  const std::optional<uint64_t> tag = TakeVarint(message);
  if (!tag) return std::nullopt;
  Field field;
  field.number = *tag >> 3;
  size_t size = 0;
  switch (*tag & 7) {
    case 0: {
      const std::optional<uint64_t> value = TakeVarint(message);
      if (!value) return std::nullopt;
      field.varint = *value;
      return field;
    }
    case 1:
      size = 8;
      break;
    case 2: {
      const std::optional<uint64_t> length = TakeVarint(message);
      if (!length || *length > message->size()) return std::nullopt;
      size = *length;
      break;
    }
    case 5:
      size = 4;
      break;
    default:
      return std::nullopt;
  }
  if (size > message->size()) return std::nullopt;
  field.bytes = message->substr(0, size);
  message->remove_prefix(size);
  return field;
}

}  // namespace

RequestId RequestIdOf(EntryType type, std::string_view payload) {
  if (type == EntryType::kNormal) {
    std::string_view header;
    while (const std::optional<Field> field = TakeField(&payload)) {
      if (field->number == kHeaderField) header = field->bytes;
    }
    payload = header;
  }
  uint64_t id = 0;
  while (const std::optional<Field> field = TakeField(&payload)) {
    if (field->number == kIdField) id = field->varint;
  }
  return RequestId(id);
}

}  // namespace quorate::server
