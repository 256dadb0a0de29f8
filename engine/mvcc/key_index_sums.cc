// KeyIndex: questions answered from the sums that subtrees carry, and the check of those sums.
#include <algorithm>

#include "base/check.h"
#include "engine/mvcc/index_node.h"
#include "engine/mvcc/key_index.h"

namespace quorate::engine {

using index::Inner;
using index::Leaf;
using index::Node;
using index::Totals;

namespace {

// A subtree whose newest record is not newer than `main` was at `main` what it is now.
bool CountsAsNow(const Totals& totals, int64_t main) { return totals.newest_main <= main; }

void AddEntry(const KeyEntry& entry, int64_t main, LiveSums* sums) {
  const std::optional<RecordRef> ref = entry.LiveAt(main);
  if (!ref) return;
  ++sums->keys;
  sums->framed_bytes += FramedKvBytes(ref->kv_bytes);
}

}  // namespace

LiveSums KeyIndex::SumsBelow(const Node* node, Bounds bounds, int64_t main) {
  LiveSums sums;
  if (node->is_leaf()) {
    const auto* leaf = static_cast<const Leaf*>(node);
    const uint32_t first = bounds.begin == nullptr ? 0 : leaf->LowerBound(*bounds.begin);
    const uint32_t last = bounds.end == nullptr ? leaf->count : leaf->LowerBound(*bounds.end);
    for (uint32_t i = first; i < last; ++i) AddEntry(*leaf->entries[i], main, &sums);
    return sums;
  }
  const auto* inner = static_cast<const Inner*>(node);
  const uint32_t first = bounds.begin == nullptr ? 0 : inner->ChildFor(*bounds.begin);
  const uint32_t last = bounds.end == nullptr ? inner->count - 1 : inner->ChildFor(*bounds.end);
  for (uint32_t i = first; i <= last; ++i) {
    const Bounds inside{i == first ? bounds.begin : nullptr, i == last ? bounds.end : nullptr};
    const bool whole = inside.begin == nullptr && inside.end == nullptr;
    if (whole && CountsAsNow(inner->totals[i], main)) {
      sums += inner->totals[i].live;
    } else {
      sums += SumsBelow(inner->children[i], inside, main);
    }
  }
  return sums;
}

LiveSums KeyIndex::SumsAt(const KeyInterval& interval, int64_t main) const {
  if (interval.single) {
    LiveSums sums;
    if (const KeyEntry* entry = Find(interval.begin)) AddEntry(*entry, main, &sums);
    return sums;
  }
  if (interval.open_ended) return SumsBelow(root_, {&interval.begin, nullptr}, main);
  if (interval.end <= interval.begin) return {};
  return SumsBelow(root_, {&interval.begin, &interval.end}, main);
}

// Adds keys until `keys_max` are in *sums; false when they are.
bool KeyIndex::TakeFirst(const Node* node, Bounds bounds, int64_t main, uint64_t keys_max,
                         LiveSums* sums) {
  if (node->is_leaf()) {
    const auto* leaf = static_cast<const Leaf*>(node);
    const uint32_t first = bounds.begin == nullptr ? 0 : leaf->LowerBound(*bounds.begin);
    const uint32_t last = bounds.end == nullptr ? leaf->count : leaf->LowerBound(*bounds.end);
    for (uint32_t i = first; i < last && sums->keys < keys_max; ++i) {
      AddEntry(*leaf->entries[i], main, sums);
    }
    return sums->keys < keys_max;
  }
  const auto* inner = static_cast<const Inner*>(node);
  const uint32_t first = bounds.begin == nullptr ? 0 : inner->ChildFor(*bounds.begin);
  const uint32_t last = bounds.end == nullptr ? inner->count - 1 : inner->ChildFor(*bounds.end);
  for (uint32_t i = first; i <= last; ++i) {
    const Bounds inside{i == first ? bounds.begin : nullptr, i == last ? bounds.end : nullptr};
    const bool whole = inside.begin == nullptr && inside.end == nullptr;
    const Totals& totals = inner->totals[i];
    if (whole && CountsAsNow(totals, main) && sums->keys + totals.live.keys <= keys_max) {
      *sums += totals.live;
      if (sums->keys == keys_max) return false;
    } else if (!TakeFirst(inner->children[i], inside, main, keys_max, sums)) {
      return false;
    }
  }
  return true;
}

LiveSums KeyIndex::FirstAt(const KeyInterval& interval, int64_t main, uint64_t keys_max) const {
  LiveSums sums;
  if (keys_max == 0 || interval.single) return keys_max == 0 ? sums : SumsAt(interval, main);
  if (!interval.open_ended && interval.end <= interval.begin) return sums;
  const Bounds bounds{&interval.begin, interval.open_ended ? nullptr : &interval.end};
  TakeFirst(root_, bounds, main, keys_max, &sums);
  return sums;
}

// --- verification

uint64_t KeyIndex::VerifyBelow(const Node* node, Bounds bounds, int depth, const Leaf** previous) {
  QR_CHECK(depth < kDepthMax);
  if (node->is_leaf()) {
    const auto* leaf = static_cast<const Leaf*>(node);
    QR_CHECK(leaf->previous == *previous);
    QR_CHECK(*previous == nullptr || (*previous)->next == leaf);
    *previous = leaf;
    for (uint32_t i = 0; i < leaf->count; ++i) {
      const KeyEntry& entry = *leaf->entries[i];
      QR_CHECK(i == 0 || leaf->entries[i - 1]->key() < entry.key());
      QR_CHECK(bounds.begin == nullptr || entry.key() >= *bounds.begin);
      QR_CHECK(bounds.end == nullptr || entry.key() < *bounds.end);
      QR_CHECK(leaf->LowerBound(entry.key()) == i);
      Revision last;
      for (const PackedRef& ref : entry.older()) {
        QR_CHECK(last < ref.Unpack().revision);
        last = ref.Unpack().revision;
      }
      QR_CHECK(last < entry.newest.Unpack().revision);
      QR_CHECK(entry.live() == (entry.version > 0) && entry.live() == (entry.create_revision > 0));
    }
    return leaf->count;
  }
  const auto* inner = static_cast<const Inner*>(node);
  QR_CHECK(inner->count > 0);
  uint64_t entries = 0;
  for (uint32_t i = 0; i < inner->count; ++i) {
    const Bounds inside{i == 0 ? bounds.begin : &inner->separators[i],
                        i + 1 == inner->count ? bounds.end : &inner->separators[i + 1]};
    entries += VerifyBelow(inner->children[i], inside, depth + 1, previous);
    const Totals sum = SumOf(inner->children[i]);
    const Totals& known = inner->totals[i];
    QR_CHECK(sum.live == known.live && sum.superseded == known.superseded);
    QR_CHECK(sum.newest_main <= known.newest_main);
    QR_CHECK(i == 0 || inner->ChildFor(inner->separators[i]) == i);
    QR_CHECK(inner->children[i]->count > 0);
  }
  return entries;
}

void KeyIndex::Verify() const {
  const Leaf* last = nullptr;
  QR_CHECK(VerifyBelow(root_, {}, 0, &last) == entries_);
  QR_CHECK(last->next == nullptr);
}

}  // namespace quorate::engine
