// Hand-made protobuf encoding where the bytes are hot or already there: stored KeyValues, response
// headers, range answers that wrap stored bytes untouched. Field numbers: proto/mvccpb.proto and
// proto/etcdserverpb.proto.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/watch/hub.h"

namespace quorate::engine::wire {

inline size_t VarintBytes(uint64_t value) {
  return (static_cast<size_t>(64 - __builtin_clzll(value | 1)) + 6) / 7;
}
inline void AppendVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}
// proto3: a zero is left out.
inline void AppendUint(std::string* out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  AppendVarint(out, field << 3);
  AppendVarint(out, value);
}
inline void AppendInt(std::string* out, uint32_t field, int64_t value) {
  AppendUint(out, field, static_cast<uint64_t>(value));
}
// Written even when empty: sub-messages and repeated fields.
inline void AppendBytes(std::string* out, uint32_t field, std::string_view bytes) {
  AppendVarint(out, field << 3 | 2);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}
inline void AppendNonEmpty(std::string* out, uint32_t field, std::string_view bytes) {
  if (!bytes.empty()) AppendBytes(out, field, bytes);
}
// Size of a length-delimited field with a one-byte tag.
inline uint64_t FramedBytes(uint64_t payload) { return 1 + VarintBytes(payload) + payload; }

// Takes a varint off the front of *in; false when there is none.
bool ReadVarint(std::string_view* in, uint64_t* value);

// A stored pair, decoded as views into its bytes.
struct KeyValue {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  int64_t lease = 0;
};
// nullopt for bytes that are no KeyValue.
std::optional<KeyValue> ParseKeyValue(std::string_view bytes);
uint64_t KeyValueBytes(const KeyValue& kv);
void AppendKeyValue(std::string* out, const KeyValue& kv);
// Into memory of at least KeyValueBytes.
char* WriteKeyValue(char* out, const KeyValue& kv);
// Where the key's bytes begin in an encoded pair.
inline size_t KeyOffset(size_t key_bytes) { return 1 + VarintBytes(key_bytes); }

// Field 1 of every response.
uint64_t HeaderBytes(const HeaderFields& header, int64_t revision);
void AppendHeader(std::string* out, const HeaderFields& header, int64_t revision);
// As inside a transaction: only the revision.
void AppendInnerHeader(std::string* out, int64_t revision);

}  // namespace quorate::engine::wire
