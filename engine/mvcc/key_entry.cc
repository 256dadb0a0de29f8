#include "engine/mvcc/key_entry.h"

#include <algorithm>

#include "base/check.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {

PackedRef PackedRef::Of(const RecordRef& ref) {
  QR_CHECK(ref.revision.sub >= 0 && ref.revision.sub <= UINT32_MAX);
  QR_CHECK(ref.kv_bytes < (1u << 31));
  return {ref.revision.main, static_cast<uint32_t>(ref.revision.sub),
          ref.kv_bytes << 1 | (ref.kind == RecordKind::kTombstone ? 1u : 0u)};
}

uint64_t FramedKvBytes(uint32_t kv_bytes) { return wire::FramedBytes(kv_bytes); }

std::optional<RecordRef> KeyEntry::LiveAt(int64_t main) const {
  PackedRef found = newest;
  if (found.main > main) {
    const std::span<const PackedRef> refs = older();
    const auto after =
        std::upper_bound(refs.begin(), refs.end(), main,
                         [](int64_t value, const PackedRef& ref) { return value < ref.main; });
    if (after == refs.begin()) return std::nullopt;
    found = *(after - 1);
  }
  if (found.tombstone()) return std::nullopt;
  return found.Unpack();
}

KeyInterval KeyInterval::Of(std::string_view key, std::string_view range_end) {
  KeyInterval interval{key, range_end};
  interval.single = range_end.empty();
  interval.open_ended = range_end.size() == 1 && range_end[0] == '\0';
  return interval;
}

}  // namespace quorate::engine
