// raftpb.ConfChange and ConfChangeV2 in protobuf's wire format. Written out here because this room
// knows no generated code; the two messages are small and frozen.
//
//   ConfChange        1 id (varint)  2 type (varint)  3 node_id (varint)  4 context (bytes)
//   ConfChangeV2      1 transition (varint)  2 changes (repeated ConfChangeSingle)  3 context
//   (bytes) ConfChangeSingle  1 type (varint)  2 node_id (varint)

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "consensus/conf_change.h"

namespace quorate::consensus {
namespace {

constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

void PutVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void PutNumber(std::string* out, uint32_t field, uint64_t value) {
  PutVarint(out, field << 3 | kVarint);
  PutVarint(out, value);
}

void PutBytes(std::string* out, uint32_t field, std::string_view bytes) {
  PutVarint(out, field << 3 | kBytes);
  PutVarint(out, bytes.size());
  out->append(bytes);
}

bool TakeVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in->front());
    in->remove_prefix(1);
    *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of anything with a length
};

// Takes one field off the front; false when the bytes are no message.
bool TakeField(std::string_view* in, Field* field) {
  uint64_t tag, length = 0;
  if (!TakeVarint(in, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return false;
  *field = {.number = static_cast<uint32_t>(tag >> 3)};
  switch (tag & 7) {
    case kVarint:
      return TakeVarint(in, &field->value);
    case kBytes:
      if (!TakeVarint(in, &length)) return false;
      break;
    case kFixed64:
      length = 8;
      break;
    case kFixed32:
      length = 4;
      break;
    default:
      return false;
  }
  if (length > in->size()) return false;
  field->bytes = in->substr(0, length);
  in->remove_prefix(length);
  return true;
}

bool ToType(uint64_t number, ConfChangeType* type) {
  if (number > static_cast<uint64_t>(ConfChangeType::kAddLearner)) return false;
  *type = static_cast<ConfChangeType>(number);
  return true;
}

bool DecodeSingle(std::string_view in, ConfChangeSingle* single) {
  Field field;
  while (!in.empty()) {
    if (!TakeField(&in, &field)) return false;
    if (field.number == 1 && !ToType(field.value, &single->type)) return false;
    if (field.number == 2) single->member = MemberId(field.value);
  }
  return true;
}

bool DecodeOne(std::string_view in, ConfChange* change) {
  ConfChangeSingle single;
  Field field;
  while (!in.empty()) {
    if (!TakeField(&in, &field)) return false;
    if (field.number == 1) change->id = field.value;
    if (field.number == 2 && !ToType(field.value, &single.type)) return false;
    if (field.number == 3) single.member = MemberId(field.value);
    if (field.number == 4) change->context = Bytes::Copy(field.bytes);
  }
  change->changes.push_back(single);
  return true;
}

bool DecodeMany(std::string_view in, ConfChange* change) {
  Field field;
  while (!in.empty()) {
    if (!TakeField(&in, &field)) return false;
    if (field.number == 1) {
      if (field.value > static_cast<uint64_t>(ConfChangeTransition::kJointExplicit)) return false;
      change->transition = static_cast<ConfChangeTransition>(field.value);
    }
    if (field.number == 2) {
      ConfChangeSingle single;
      if (!DecodeSingle(field.bytes, &single)) return false;
      change->changes.push_back(single);
    }
    if (field.number == 3) change->context = Bytes::Copy(field.bytes);
  }
  return true;
}

}  // namespace

EncodedConfChange EncodeConfChange(const ConfChange& change) {
  std::string out;
  if (change.transition == ConfChangeTransition::kAuto && change.changes.size() == 1) {
    PutNumber(&out, 1, change.id);
    PutNumber(&out, 2, static_cast<uint64_t>(change.changes[0].type));
    PutNumber(&out, 3, change.changes[0].member.value());
    if (!change.context.empty()) PutBytes(&out, 4, change.context.view());
    return {EntryType::kConfChange, Bytes::FromString(std::move(out))};
  }
  if (change.transition != ConfChangeTransition::kAuto) {
    PutNumber(&out, 1, static_cast<uint64_t>(change.transition));
  }
  for (const ConfChangeSingle& single : change.changes) {
    std::string inner;
    PutNumber(&inner, 1, static_cast<uint64_t>(single.type));
    PutNumber(&inner, 2, single.member.value());
    PutBytes(&out, 2, inner);
  }
  if (!change.context.empty()) PutBytes(&out, 3, change.context.view());
  return {EntryType::kConfChangeV2, Bytes::FromString(std::move(out))};
}

absl::StatusOr<ConfChange> DecodeConfChange(EntryType type, const Bytes& data) {
  ConfChange change;
  bool good = false;
  if (type == EntryType::kConfChange) good = DecodeOne(data.view(), &change);
  if (type == EntryType::kConfChangeV2) good = DecodeMany(data.view(), &change);
  if (!good) return absl::InvalidArgumentError("not a membership change");
  return change;
}

}  // namespace quorate::consensus
