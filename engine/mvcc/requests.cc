#include "engine/mvcc/requests.h"

#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

constexpr uint32_t kVarint = 0;
constexpr uint32_t kBytes = 2;

constexpr uint64_t Tag(uint32_t field, uint32_t type) { return field << 3 | type; }

struct Field {
  uint64_t tag = 0;
  uint64_t number = 0;     // of a varint
  std::string_view bytes;  // of a length-delimited field
};

// False at anything but a whole varint or length-delimited field.
bool TakeField(std::string_view* in, Field* field) {
  if (!wire::ReadVarint(in, &field->tag) || !wire::ReadVarint(in, &field->number)) return false;
  if ((field->tag & 7) == kVarint) return true;
  if ((field->tag & 7) != kBytes || field->number > in->size()) return false;
  field->bytes = in->substr(0, field->number);
  in->remove_prefix(field->number);
  return true;
}

bool ParsePut(std::string_view in, PutArguments* put) {
  Field field;
  while (!in.empty()) {
    if (!TakeField(&in, &field)) return false;
    switch (field.tag) {
      case Tag(1, kBytes):
        put->key = field.bytes;
        break;
      case Tag(2, kBytes):
        put->value = field.bytes;
        break;
      case Tag(3, kVarint):
        put->lease = static_cast<int64_t>(field.number);
        break;
      case Tag(4, kVarint):
        put->prev_kv = field.number != 0;
        break;
      case Tag(5, kVarint):
        put->ignore_value = field.number != 0;
        break;
      case Tag(6, kVarint):
        put->ignore_lease = field.number != 0;
        break;
      default:
        return false;
    }
  }
  return true;
}

}  // namespace

PutArguments PutArguments::Of(const etcdserverpb::PutRequest& request) {
  return {request.key(),     request.value(),        request.lease(),
          request.prev_kv(), request.ignore_value(), request.ignore_lease()};
}

Error PutArguments::Check() const {
  if (key.empty()) return errors::kEmptyKey;
  if (ignore_value && !value.empty()) return errors::kValueProvided;
  if (ignore_lease && lease != 0) return errors::kLeaseProvided;
  return {};
}

std::optional<PutArguments> ParsePutEntry(std::string_view in) {
  std::optional<PutArguments> put;
  Field field;
  while (!in.empty()) {
    if (!TakeField(&in, &field)) return std::nullopt;
    switch (field.tag) {
      case Tag(1, kVarint):   // ID
      case Tag(100, kBytes):  // header: id, user, revision of the auth store
        break;
      case Tag(4, kBytes):
        if (put) return std::nullopt;  // twice: messages are merged, which is protobuf's business
        if (!ParsePut(field.bytes, &put.emplace())) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
  return put;
}

}  // namespace quorate::engine
