#include "engine/mvcc/revision.h"

namespace quorate::engine {
namespace {

void PutBigEndian(char* out, int64_t value) {
  const uint64_t bits = static_cast<uint64_t>(value);
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(bits >> (56 - 8 * i));
}

int64_t GetBigEndian(const char* in) {
  uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) bits = bits << 8 | static_cast<unsigned char>(in[i]);
  return static_cast<int64_t>(bits);
}

}  // namespace

RevisionKey::RevisionKey(Revision revision, RecordKind kind)
    : size_(kind == RecordKind::kTombstone ? kTombstoneKeyBytes : kRevisionKeyBytes) {
  PutBigEndian(bytes_.data(), revision.main);
  bytes_[8] = '_';
  PutBigEndian(bytes_.data() + 9, revision.sub);
  bytes_[17] = 't';
}

std::optional<ParsedRevisionKey> ParseRevisionKey(std::string_view key) {
  const bool tombstone = key.size() == kTombstoneKeyBytes && key[17] == 't';
  if ((!tombstone && key.size() != kRevisionKeyBytes) || key[8] != '_') return std::nullopt;
  return ParsedRevisionKey{{GetBigEndian(key.data()), GetBigEndian(key.data() + 9)},
                           tombstone ? RecordKind::kTombstone : RecordKind::kPut};
}

}  // namespace quorate::engine
