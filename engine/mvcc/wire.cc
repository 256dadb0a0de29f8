#include "engine/mvcc/wire.h"

#include <cstring>

namespace quorate::engine::wire {
namespace {

char* WriteVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

char* WriteInt(char* out, uint32_t field, int64_t value) {
  if (value == 0) return out;
  *out++ = static_cast<char>(field << 3);
  return WriteVarint(out, static_cast<uint64_t>(value));
}

char* WriteBytes(char* out, uint32_t field, std::string_view bytes) {
  if (bytes.empty()) return out;
  *out++ = static_cast<char>(field << 3 | 2);
  out = WriteVarint(out, bytes.size());
  memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

uint64_t IntBytes(int64_t value) {
  return value == 0 ? 0 : 1 + VarintBytes(static_cast<uint64_t>(value));
}

}  // namespace

bool ReadVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
    const unsigned char byte = static_cast<unsigned char>(in->front());
    in->remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

std::optional<KeyValue> ParseKeyValue(std::string_view in) {
  KeyValue kv;
  while (!in.empty()) {
    uint64_t tag, value;
    if (!ReadVarint(&in, &tag) || !ReadVarint(&in, &value)) return std::nullopt;
    std::string_view bytes;
    if ((tag & 7) == 2) {
      if (value > in.size()) return std::nullopt;
      bytes = in.substr(0, value);
      in.remove_prefix(value);
    } else if ((tag & 7) != 0) {
      return std::nullopt;
    }
    switch (tag) {
      case 1 << 3 | 2:
        kv.key = bytes;
        break;
      case 2 << 3:
        kv.create_revision = static_cast<int64_t>(value);
        break;
      case 3 << 3:
        kv.mod_revision = static_cast<int64_t>(value);
        break;
      case 4 << 3:
        kv.version = static_cast<int64_t>(value);
        break;
      case 5 << 3 | 2:
        kv.value = bytes;
        break;
      case 6 << 3:
        kv.lease = static_cast<int64_t>(value);
        break;
      default:
        return std::nullopt;
    }
  }
  return kv;
}

uint64_t KeyValueBytes(const KeyValue& kv) {
  uint64_t bytes = IntBytes(kv.create_revision) + IntBytes(kv.mod_revision) + IntBytes(kv.version) +
                   IntBytes(kv.lease);
  if (!kv.key.empty()) bytes += FramedBytes(kv.key.size());
  if (!kv.value.empty()) bytes += FramedBytes(kv.value.size());
  return bytes;
}

char* WriteKeyValue(char* out, const KeyValue& kv) {
  out = WriteBytes(out, 1, kv.key);
  out = WriteInt(out, 2, kv.create_revision);
  out = WriteInt(out, 3, kv.mod_revision);
  out = WriteInt(out, 4, kv.version);
  out = WriteBytes(out, 5, kv.value);
  return WriteInt(out, 6, kv.lease);
}

void AppendKeyValue(std::string* out, const KeyValue& kv) {
  const size_t before = out->size();
  out->resize(before + KeyValueBytes(kv));
  WriteKeyValue(out->data() + before, kv);
}

uint64_t HeaderBytes(const HeaderFields& header, int64_t revision) {
  return IntBytes(static_cast<int64_t>(header.cluster.value())) +
         IntBytes(static_cast<int64_t>(header.member.value())) + IntBytes(revision) +
         IntBytes(static_cast<int64_t>(header.term.value()));
}

void AppendHeader(std::string* out, const HeaderFields& header, int64_t revision) {
  AppendVarint(out, 1 << 3 | 2);
  AppendVarint(out, HeaderBytes(header, revision));
  AppendUint(out, 1, header.cluster.value());
  AppendUint(out, 2, header.member.value());
  AppendInt(out, 3, revision);
  AppendUint(out, 4, header.term.value());
}

void AppendInnerHeader(std::string* out, int64_t revision) {
  AppendVarint(out, 1 << 3 | 2);
  AppendVarint(out, IntBytes(revision));
  AppendInt(out, 3, revision);
}

}  // namespace quorate::engine::wire
