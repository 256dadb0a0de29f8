#include "engine/mvcc/key_index.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {

namespace {
constexpr uint32_t kFan = 64;
}  // namespace

struct KeyIndex::Node {
  bool leaf = false;
  uint32_t count = 0;
};

struct KeyIndex::Leaf : Node {
  Leaf() { leaf = true; }
  KeyEntry* entries[kFan] = {};
  Leaf* next = nullptr;
  Leaf* previous = nullptr;
};

// separators[i] <= every key below children[i]; separators[0] is unused (nothing is smaller).
struct KeyIndex::Inner : Node {
  Node* children[kFan] = {};
  LiveSums sums[kFan];
  std::string_view separators[kFan];
};

PackedRef PackedRef::Of(const RecordRef& ref) {
  QR_CHECK(ref.revision.sub >= 0 && ref.revision.sub <= UINT32_MAX);
  QR_CHECK(ref.kv_bytes < (1u << 31));
  return {ref.revision.main, static_cast<uint32_t>(ref.revision.sub),
          ref.kv_bytes << 1 | (ref.kind == RecordKind::kTombstone ? 1u : 0u)};
}

RecordRef PackedRef::Unpack() const {
  return {{main, sub},
          bytes_and_kind >> 1,
          (bytes_and_kind & 1) != 0 ? RecordKind::kTombstone : RecordKind::kPut};
}

uint64_t KeyEntry::framed_bytes() const {
  return live() ? wire::FramedBytes(newest.bytes_and_kind >> 1) : 0;
}

KeyInterval KeyInterval::Of(std::string_view key, std::string_view range_end) {
  KeyInterval interval{key, range_end};
  interval.single = range_end.empty();
  interval.open_ended = range_end.size() == 1 && range_end[0] == '\0';
  return interval;
}

KeyIndex::KeyIndex(Allocator* allocator) : allocator_(allocator) {
  first_leaf_ = New<Leaf>();
  root_ = first_leaf_;
}

KeyIndex::~KeyIndex() { FreeNode(root_); }

void KeyIndex::FreeNode(Node* node) {
  if (node->leaf) {
    auto* leaf = static_cast<Leaf*>(node);
    for (uint32_t i = 0; i < leaf->count; ++i) FreeEntry(leaf->entries[i]);
    allocator_->Free(leaf, sizeof(Leaf));
    return;
  }
  auto* inner = static_cast<Inner*>(node);
  for (uint32_t i = 0; i < inner->count; ++i) {
    if (i != 0) FreeSeparator(inner->separators[i]);
    FreeNode(inner->children[i]);
  }
  allocator_->Free(inner, sizeof(Inner));
}

std::string_view KeyIndex::NewSeparator(std::string_view key) {
  auto* bytes = static_cast<char*>(allocator_->Allocate(key.size() + 1));
  memcpy(bytes, key.data(), key.size());
  return {bytes, key.size()};
}

void KeyIndex::FreeSeparator(std::string_view separator) {
  allocator_->Free(const_cast<char*>(separator.data()), separator.size() + 1);
}

KeyEntry* KeyIndex::NewEntry(std::string_view key) {
  void* memory = allocator_->Allocate(sizeof(KeyEntry) + key.size());
  auto* entry = new (memory) KeyEntry();
  entry->key_bytes = static_cast<uint32_t>(key.size());
  memcpy(reinterpret_cast<char*>(entry + 1), key.data(), key.size());
  ++entries_;
  return entry;
}

void KeyIndex::FreeEntry(KeyEntry* entry) {
  if (entry->older != nullptr) {
    allocator_->Free(entry->older, entry->older_capacity * sizeof(PackedRef));
  }
  allocator_->Free(entry, sizeof(KeyEntry) + entry->key_bytes);
  --entries_;
}

LiveSums KeyIndex::SumsOf(const Node* node) {
  LiveSums sums;
  if (node->leaf) {
    const auto* leaf = static_cast<const Leaf*>(node);
    for (uint32_t i = 0; i < leaf->count; ++i) {
      sums.keys += leaf->entries[i]->live() ? 1 : 0;
      sums.framed_bytes += leaf->entries[i]->framed_bytes();
    }
    return sums;
  }
  const auto* inner = static_cast<const Inner*>(node);
  for (uint32_t i = 0; i < inner->count; ++i) {
    sums.keys += inner->sums[i].keys;
    sums.framed_bytes += inner->sums[i].framed_bytes;
  }
  return sums;
}

void KeyIndex::Descend(std::string_view key, Path* path) const {
  path->depth = 0;
  Node* node = root_;
  while (!node->leaf) {
    auto* inner = static_cast<Inner*>(node);
    const std::string_view* begin = inner->separators + 1;
    const std::string_view* end = inner->separators + inner->count;
    const uint32_t child = static_cast<uint32_t>(std::upper_bound(begin, end, key) - begin);
    QR_CHECK(path->depth < kDepthMax);
    path->steps[path->depth++] = {inner, child};
    node = inner->children[child];
  }
  path->leaf = static_cast<Leaf*>(node);
  KeyEntry** entries = path->leaf->entries;
  path->slot = static_cast<uint32_t>(
      std::lower_bound(entries, entries + path->leaf->count, key,
                       [](const KeyEntry* entry, std::string_view k) { return entry->key() < k; }) -
      entries);
}

KeyEntry* KeyIndex::At(const Path& path, std::string_view key) const {
  if (path.slot == path.leaf->count) return nullptr;
  KeyEntry* entry = path.leaf->entries[path.slot];
  return entry->key() == key ? entry : nullptr;
}

const KeyEntry* KeyIndex::Find(std::string_view key) const {
  Path path;
  Descend(key, &path);
  return At(path, key);
}

void KeyIndex::AdjustSums(const Path& path, int64_t keys, int64_t bytes) {
  for (int i = 0; i < path.depth; ++i) {
    LiveSums& sums = path.steps[i].inner->sums[path.steps[i].child];
    sums.keys += static_cast<uint64_t>(keys);
    sums.framed_bytes += static_cast<uint64_t>(bytes);
  }
}

void KeyIndex::PushOlder(KeyEntry* entry) {
  if (entry->older_count == entry->older_capacity) {
    const uint32_t capacity = std::max<uint32_t>(2, entry->older_capacity * 2);
    auto* grown = static_cast<PackedRef*>(allocator_->Allocate(capacity * sizeof(PackedRef)));
    std::copy(entry->older, entry->older + entry->older_count, grown);
    if (entry->older != nullptr) {
      allocator_->Free(entry->older, entry->older_capacity * sizeof(PackedRef));
    }
    entry->older = grown;
    entry->older_capacity = capacity;
  }
  entry->older[entry->older_count++] = entry->newest;
}

void KeyIndex::Add(std::string_view key, const RecordRef& record, const PutFields& fields) {
  Path path;
  Descend(key, &path);
  KeyEntry* entry = At(path, key);
  int64_t keys_before = 0, bytes_before = 0;
  if (entry == nullptr) {
    entry = NewEntry(key);
    entry->newest.bytes_and_kind = 1;  // not live until the record below is set
    Insert(&path, entry);
  } else {
    QR_CHECK(entry->newest.Unpack().revision < record.revision);
    keys_before = entry->live() ? 1 : 0;
    bytes_before = static_cast<int64_t>(entry->framed_bytes());
    PushOlder(entry);
  }
  entry->newest = PackedRef::Of(record);
  const bool live = record.kind == RecordKind::kPut;
  entry->create_revision = live ? fields.create_revision : 0;
  entry->version = live ? fields.version : 0;
  entry->lease = live ? fields.lease : 0;
  AdjustSums(path, (live ? 1 : 0) - keys_before,
             static_cast<int64_t>(entry->framed_bytes()) - bytes_before);
}

void KeyIndex::Insert(Path* path, KeyEntry* entry) {
  if (path->leaf->count == kFan) {
    SplitLeaf(path);
    Descend(entry->key(), path);
  }
  Leaf* leaf = path->leaf;
  std::copy_backward(leaf->entries + path->slot, leaf->entries + leaf->count,
                     leaf->entries + leaf->count + 1);
  leaf->entries[path->slot] = entry;
  ++leaf->count;
}

void KeyIndex::SplitLeaf(Path* path) {
  Leaf* left = path->leaf;
  Leaf* right = New<Leaf>();
  // Keys that come in order leave full leaves behind.
  const uint32_t keep = path->slot == kFan && left->next == nullptr ? kFan - 1 : kFan / 2;
  right->count = left->count - keep;
  std::copy(left->entries + keep, left->entries + left->count, right->entries);
  left->count = keep;
  right->next = left->next;
  right->previous = left;
  if (right->next != nullptr) right->next->previous = right;
  left->next = right;
  InsertChild(path, path->depth - 1, left, right, right->entries[0]->key());
}

void KeyIndex::InsertChild(Path* path, int level, Node* left, Node* right,
                           std::string_view separator) {
  if (level < 0) {
    Inner* root = New<Inner>();
    root->count = 2;
    root->children[0] = left;
    root->children[1] = right;
    root->sums[0] = SumsOf(left);
    root->sums[1] = SumsOf(right);
    root->separators[1] = NewSeparator(separator);
    root_ = root;
    return;
  }
  Inner* inner = path->steps[level].inner;
  uint32_t at = path->steps[level].child;
  if (inner->count == kFan) {
    Inner* sibling = New<Inner>();
    const uint32_t keep = at == kFan - 1 ? kFan - 1 : kFan / 2;
    sibling->count = inner->count - keep;
    std::copy(inner->children + keep, inner->children + inner->count, sibling->children);
    std::copy(inner->sums + keep, inner->sums + inner->count, sibling->sums);
    std::copy(inner->separators + keep, inner->separators + inner->count, sibling->separators);
    inner->count = keep;
    const std::string_view moved = sibling->separators[0];
    sibling->separators[0] = {};
    InsertChild(path, level - 1, inner, sibling, moved);
    FreeSeparator(moved);
    if (at >= keep) {
      inner = sibling;
      at -= keep;
    }
  }
  const uint32_t slot = at + 1;
  std::copy_backward(inner->children + slot, inner->children + inner->count,
                     inner->children + inner->count + 1);
  std::copy_backward(inner->sums + slot, inner->sums + inner->count,
                     inner->sums + inner->count + 1);
  std::copy_backward(inner->separators + slot, inner->separators + inner->count,
                     inner->separators + inner->count + 1);
  inner->children[slot] = right;
  inner->separators[slot] = NewSeparator(separator);
  inner->sums[at] = SumsOf(left);
  inner->sums[slot] = SumsOf(right);
  ++inner->count;
}

std::optional<RecordRef> KeyIndex::LiveAt(const KeyEntry& entry, int64_t main) {
  PackedRef found = entry.newest;
  if (found.main > main) {
    const PackedRef* end = entry.older + entry.older_count;
    const PackedRef* after =
        std::upper_bound(const_cast<const PackedRef*>(entry.older), end, main,
                         [](int64_t value, const PackedRef& ref) { return value < ref.main; });
    if (after == entry.older) return std::nullopt;
    found = *(after - 1);
  }
  if ((found.bytes_and_kind & 1) != 0) return std::nullopt;
  return found.Unpack();
}

void KeyIndex::WalkFrom(std::string_view key, const KeyInterval& interval,
                        absl::FunctionRef<bool(const KeyEntry&)> visitor) const {
  Path path;
  Descend(key, &path);
  uint32_t slot = path.slot;
  for (const Leaf* leaf = path.leaf; leaf != nullptr; leaf = leaf->next, slot = 0) {
    for (; slot < leaf->count; ++slot) {
      const KeyEntry& entry = *leaf->entries[slot];
      if (interval.single ? entry.key() != interval.begin : interval.Before(entry.key())) return;
      if (!visitor(entry)) return;
    }
  }
}

void KeyIndex::Walk(const KeyInterval& interval,
                    absl::FunctionRef<bool(const KeyEntry&)> visitor) const {
  WalkFrom(interval.begin, interval, visitor);
}

LiveSums KeyIndex::Total() const { return SumsOf(root_); }

LiveSums KeyIndex::Below(std::string_view key) const {
  Path path;
  Descend(key, &path);
  LiveSums sums;
  for (int i = 0; i < path.depth; ++i) {
    for (uint32_t child = 0; child < path.steps[i].child; ++child) {
      sums.keys += path.steps[i].inner->sums[child].keys;
      sums.framed_bytes += path.steps[i].inner->sums[child].framed_bytes;
    }
  }
  for (uint32_t slot = 0; slot < path.slot; ++slot) {
    sums.keys += path.leaf->entries[slot]->live() ? 1 : 0;
    sums.framed_bytes += path.leaf->entries[slot]->framed_bytes();
  }
  return sums;
}

LiveSums KeyIndex::Within(const KeyInterval& interval) const {
  if (interval.single) {
    const KeyEntry* entry = Find(interval.begin);
    if (entry == nullptr || !entry->live()) return {};
    return {1, entry->framed_bytes()};
  }
  if (!interval.open_ended && interval.end <= interval.begin) return {};
  const LiveSums low = Below(interval.begin);
  const LiveSums high = interval.open_ended ? Total() : Below(interval.end);
  return {high.keys - low.keys, high.framed_bytes - low.framed_bytes};
}

LiveSums KeyIndex::First(uint64_t keys) const {
  LiveSums sums;
  const Node* node = root_;
  while (!node->leaf) {
    const auto* inner = static_cast<const Inner*>(node);
    uint32_t child = 0;
    while (child + 1 < inner->count && sums.keys + inner->sums[child].keys <= keys) {
      sums.keys += inner->sums[child].keys;
      sums.framed_bytes += inner->sums[child].framed_bytes;
      ++child;
    }
    node = inner->children[child];
  }
  const auto* leaf = static_cast<const Leaf*>(node);
  for (uint32_t slot = 0; slot < leaf->count && sums.keys < keys; ++slot) {
    sums.keys += leaf->entries[slot]->live() ? 1 : 0;
    sums.framed_bytes += leaf->entries[slot]->framed_bytes();
  }
  return sums;
}

size_t KeyIndex::CompactEntry(KeyEntry* entry, int64_t main,
                              absl::FunctionRef<void(const RecordRef&)> dropped) {
  // The last one at or below `main` stays, but for a tombstone below it: that says no more than
  // nothing does. A key that lives again within the compacted revision keeps its live record,
  // since only the last of equal mains counts.
  size_t at_or_below = 0;
  while (at_or_below < entry->older_count && entry->older[at_or_below].main <= main) ++at_or_below;
  const bool newest_below = entry->newest.main <= main;
  const PackedRef* last = newest_below       ? &entry->newest
                          : at_or_below == 0 ? nullptr
                                             : &entry->older[at_or_below - 1];
  if (last == nullptr) return entry->older_count + 1;
  const bool drop_last = (last->bytes_and_kind & 1) != 0 && last->main < main;
  size_t drop = newest_below ? entry->older_count : at_or_below - 1;
  if (!newest_below && drop_last) ++drop;
  for (size_t i = 0; i < drop; ++i) dropped(entry->older[i].Unpack());
  std::copy(entry->older + drop, entry->older + entry->older_count, entry->older);
  entry->older_count -= static_cast<uint32_t>(drop);
  if (entry->older_count == 0 && entry->older != nullptr) {
    allocator_->Free(entry->older, entry->older_capacity * sizeof(PackedRef));
    entry->older = nullptr;
    entry->older_capacity = 0;
  }
  if (newest_below && drop_last) {
    dropped(entry->newest.Unpack());
    return 0;
  }
  return entry->older_count + 1;
}

bool KeyIndex::Compact(int64_t main, uint32_t keys_max, std::string* resume,
                       absl::FunctionRef<void(const RecordRef&)> dropped) {
  Path path;
  Descend(*resume, &path);
  uint32_t visited = 0;
  Leaf* leaf = path.leaf;
  uint32_t slot = path.slot;
  while (leaf != nullptr) {
    if (slot == leaf->count) {
      leaf = leaf->next;
      slot = 0;
      continue;
    }
    KeyEntry* entry = leaf->entries[slot];
    if (visited++ == keys_max) {
      resume->assign(entry->key());
      return true;
    }
    if (CompactEntry(entry, main, dropped) != 0) {
      ++slot;
      continue;
    }
    // Gone entirely: remove it and find the place again, since leaves may go as well.
    const std::string key(entry->key());
    Descend(key, &path);
    Remove(path);
    Descend(key, &path);
    leaf = path.leaf;
    slot = path.slot;
  }
  return false;
}

void KeyIndex::Remove(const Path& path) {
  Leaf* leaf = path.leaf;
  KeyEntry* entry = leaf->entries[path.slot];
  QR_CHECK(!entry->live());
  std::copy(leaf->entries + path.slot + 1, leaf->entries + leaf->count, leaf->entries + path.slot);
  --leaf->count;
  FreeEntry(entry);
  if (leaf->count == 0) RemoveEmpty(path);
}

void KeyIndex::RemoveEmpty(const Path& path) {
  if (path.depth == 0) return;  // the root stays, as an empty leaf
  Leaf* leaf = path.leaf;
  if (leaf->previous != nullptr) leaf->previous->next = leaf->next;
  if (leaf->next != nullptr) leaf->next->previous = leaf->previous;
  if (first_leaf_ == leaf) first_leaf_ = leaf->next;
  allocator_->Free(leaf, sizeof(Leaf));
  for (int level = path.depth - 1; level >= 0; --level) {
    Inner* inner = path.steps[level].inner;
    const uint32_t at = path.steps[level].child;
    const std::string_view gone = inner->separators[at == 0 ? 1 : at];
    if (inner->count > 1) FreeSeparator(gone);
    std::copy(inner->children + at + 1, inner->children + inner->count, inner->children + at);
    std::copy(inner->sums + at + 1, inner->sums + inner->count, inner->sums + at);
    std::copy(inner->separators + at + 1, inner->separators + inner->count, inner->separators + at);
    --inner->count;
    if (inner->count != 0) {
      inner->separators[0] = {};
      break;
    }
    // Its only child went: it goes too.
    if (level == 0) {
      first_leaf_ = New<Leaf>();
      root_ = first_leaf_;
    }
    allocator_->Free(inner, sizeof(Inner));
  }
  while (!root_->leaf && root_->count == 1) {
    auto* old = static_cast<Inner*>(root_);
    root_ = old->children[0];
    allocator_->Free(old, sizeof(Inner));
  }
}

}  // namespace quorate::engine
