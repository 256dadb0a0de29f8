#include "engine/mvcc/key_index.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"
#include "engine/mvcc/index_node.h"

namespace quorate::engine {

using index::Inner;
using index::kFan;
using index::Leaf;
using index::Node;
using index::Totals;

KeyIndex::KeyIndex(Allocator* allocator) : allocator_(allocator), root_(New<Leaf>()) {}

KeyIndex::~KeyIndex() { FreeTree(root_); }

void KeyIndex::FreeTree(Node* node) {
  if (node->is_leaf()) {
    auto* leaf = static_cast<Leaf*>(node);
    for (uint32_t i = 0; i < leaf->count; ++i) FreeEntry(leaf->entries[i]);
  } else {
    auto* inner = static_cast<Inner*>(node);
    for (uint32_t i = 0; i < inner->count; ++i) {
      if (i != 0) FreeSeparator(inner->separators[i]);
      FreeTree(inner->children[i]);
    }
  }
  FreeNode(node);
}

void KeyIndex::FreeNode(Node* node) {
  allocator_->Free(node, node->is_leaf() ? sizeof(Leaf) : sizeof(Inner));
}

// --- blocks

std::string_view KeyIndex::NewSeparator(std::string_view key) {
  auto* bytes = static_cast<char*>(allocator_->Allocate(key.size()));
  memcpy(bytes, key.data(), key.size());
  return {bytes, key.size()};
}

void KeyIndex::FreeSeparator(std::string_view separator) {
  if (separator.data() == nullptr) return;
  allocator_->Free(const_cast<char*>(separator.data()), separator.size());
}

KeyEntry* KeyIndex::NewEntry(std::string_view key) {
  void* memory = allocator_->Allocate(sizeof(KeyEntry) + key.size());
  auto* entry = new (memory) KeyEntry();
  entry->key_bytes = static_cast<uint32_t>(key.size());
  memcpy(reinterpret_cast<char*>(entry + 1), key.data(), key.size());
  ++entries_;
  return entry;
}

void KeyIndex::FreeOlder(KeyEntry* entry) {
  if (entry->older_block == nullptr) return;
  allocator_->Free(entry->older_block, OlderRefs::BlockBytes(entry->older_block->capacity));
  entry->older_block = nullptr;
}

void KeyIndex::FreeEntry(KeyEntry* entry) {
  FreeOlder(entry);
  allocator_->Free(entry, sizeof(KeyEntry) + entry->key_bytes);
  --entries_;
}

void KeyIndex::PushOlder(KeyEntry* entry) {
  OlderRefs* older = entry->older_block;
  if (older == nullptr || older->count == older->capacity) {
    const uint32_t count = older == nullptr ? 0 : older->count;
    const uint32_t capacity = older == nullptr ? 1 : older->capacity * 2 + 1;
    auto* grown = new (allocator_->Allocate(OlderRefs::BlockBytes(capacity))) OlderRefs();
    grown->capacity = capacity;
    grown->count = count;
    if (older != nullptr) std::copy(older->refs(), older->refs() + count, grown->refs());
    FreeOlder(entry);
    entry->older_block = older = grown;
  }
  older->refs()[older->count++] = entry->newest;
}

// --- looking and adding

void KeyIndex::Descend(std::string_view key, Path* path) const {
  path->depth = 0;
  Node* node = root_;
  while (!node->is_leaf()) {
    auto* inner = static_cast<Inner*>(node);
    const uint32_t child = inner->ChildFor(key);
    QR_CHECK(path->depth < kDepthMax);
    path->steps[path->depth++] = {inner, child};
    node = inner->children[child];
  }
  path->leaf = static_cast<Leaf*>(node);
  path->slot = path->leaf->LowerBound(key);
}

KeyEntry* KeyIndex::EntryAt(const Path& path, std::string_view key) {
  if (path.slot == path.leaf->count) return nullptr;
  KeyEntry* entry = path.leaf->entries[path.slot];
  return entry->key() == key ? entry : nullptr;
}

const KeyEntry* KeyIndex::Find(std::string_view key) const {
  Path path;
  Descend(key, &path);
  return EntryAt(path, key);
}

void KeyIndex::Locate(std::string_view key, Place* place) const {
  Descend(key, &place->path_);
  place->entry = EntryAt(place->path_, key);
}

KeyIndex::Delta KeyIndex::Minus(const KeyEntry& entry) {
  return {entry.live() ? -1 : 0, -static_cast<int64_t>(entry.framed_bytes()),
          -static_cast<int64_t>(entry.superseded())};
}

KeyIndex::Delta KeyIndex::Plus(Delta delta, const KeyEntry& entry) {
  delta.keys += entry.live() ? 1 : 0;
  delta.bytes += static_cast<int64_t>(entry.framed_bytes());
  delta.superseded += static_cast<int64_t>(entry.superseded());
  delta.newest_main = entry.newest.main;
  return delta;
}

void KeyIndex::AdjustTotals(const Path& path, const Delta& delta) {
  for (int i = 0; i < path.depth; ++i) {
    Totals& totals = path.steps[i].inner->totals[path.steps[i].child];
    totals.live.keys += static_cast<uint64_t>(delta.keys);
    totals.live.framed_bytes += static_cast<uint64_t>(delta.bytes);
    totals.superseded += static_cast<uint64_t>(delta.superseded);
    totals.newest_main = std::max(totals.newest_main, delta.newest_main);
  }
}

void KeyIndex::Add(std::string_view key, const RecordRef& record, const PutFields& fields) {
  Place place;
  Locate(key, &place);
  Add(&place, key, record, fields);
}

void KeyIndex::Add(Place* place, std::string_view key, const RecordRef& record,
                   const PutFields& fields) {
  auto* entry = const_cast<KeyEntry*>(place->entry);
  Delta delta;
  if (entry == nullptr) {
    entry = NewEntry(key);
  } else {
    QR_CHECK(entry->newest.Unpack().revision < record.revision);
    delta = Minus(*entry);
    PushOlder(entry);
  }
  entry->newest = PackedRef::Of(record);
  const bool live = record.kind == RecordKind::kPut;
  entry->create_revision = live ? fields.create_revision : 0;
  entry->version = live ? fields.version : 0;
  entry->lease = live ? fields.lease : 0;
  delta = Plus(delta, *entry);
  if (place->entry == nullptr) {
    Insert(&place->path_, entry);
    place->entry = entry;
  } else {
    AdjustTotals(place->path_, delta);
  }
}

void KeyIndex::Insert(Path* path, KeyEntry* entry) {
  if (path->leaf->count == kFan) {
    SplitLeaf(*path);
    Descend(entry->key(), path);
  }
  path->leaf->Insert(path->slot, entry);
  AdjustTotals(*path, Plus({}, *entry));
}

void KeyIndex::SplitLeaf(const Path& path) {
  Leaf* left = path.leaf;
  Leaf* right = New<Leaf>();
  // Keys that come in order leave full leaves behind.
  const bool appends = path.slot == kFan && left->next == nullptr;
  left->MoveTail(appends ? kFan - 1 : kFan / 2, right);
  AddChild(path, path.depth - 1, left, right, NewSeparator(right->entries[0]->key()));
}

// `left` was split: takes `right` in behind it, at `level` of the path. `separator` is handed over.
void KeyIndex::AddChild(const Path& path, int level, Node* left, Node* right,
                        std::string_view separator) {
  if (level < 0) {
    Inner* root = New<Inner>();
    root->InsertChild(0, left, {}, SumOf(left));
    root->InsertChild(1, right, separator, SumOf(right));
    root_ = root;
    return;
  }
  Inner* inner = path.steps[level].inner;
  uint32_t at = path.steps[level].child;
  inner->totals[at] = SumOf(left);
  if (inner->count < kFan) {
    inner->InsertChild(at + 1, right, separator, SumOf(right));
    return;
  }
  Inner* sibling = New<Inner>();
  const uint32_t keep = at == kFan - 1 ? kFan - 1 : kFan / 2;
  const std::string_view between = inner->MoveTail(keep, sibling);
  Inner* target = inner;
  if (at >= keep) {
    target = sibling;
    at -= keep;
  }
  target->InsertChild(at + 1, right, separator, SumOf(right));
  AddChild(path, level - 1, inner, sibling, between);
}

// --- walking

void KeyIndex::WalkFrom(std::string_view key, const KeyInterval& interval,
                        absl::FunctionRef<bool(const KeyEntry&)> visitor) const {
  Path path;
  Descend(key, &path);
  uint32_t slot = path.slot;
  for (const Leaf* leaf = path.leaf; leaf != nullptr; leaf = leaf->next, slot = 0) {
    for (; slot < leaf->count; ++slot) {
      const KeyEntry& entry = *leaf->entries[slot];
      if (interval.Before(entry.key()) || !visitor(entry)) return;
    }
  }
}

void KeyIndex::Walk(const KeyInterval& interval,
                    absl::FunctionRef<bool(const KeyEntry&)> visitor) const {
  WalkFrom(interval.begin, interval, visitor);
}

LiveSums KeyIndex::Total() const { return SumOf(root_).live; }

uint64_t KeyIndex::superseded() const { return SumOf(root_).superseded; }

}  // namespace quorate::engine
