// KeyIndex: freeing history. Only subtrees that hold something to free are entered.
#include <algorithm>

#include "base/check.h"
#include "engine/mvcc/index_node.h"
#include "engine/mvcc/key_index.h"

namespace quorate::engine {

using index::Inner;
using index::kFan;
using index::Leaf;
using index::Node;

namespace {

// A node with fewer than this is joined with a neighbour if both fit well into one.
constexpr uint32_t kFewChildren = kFan / 4;
constexpr uint32_t kJoinedMax = kFan * 3 / 4;

}  // namespace

// Extends the path to the first entry below `node` that has something to free.
bool KeyIndex::FirstSuperseded(Path* path, Node* node) {
  while (!node->is_leaf()) {
    auto* inner = static_cast<Inner*>(node);
    uint32_t child = 0;
    while (child < inner->count && inner->totals[child].superseded == 0) ++child;
    if (child == inner->count) return false;
    QR_CHECK(path->depth < kDepthMax);
    path->steps[path->depth++] = {inner, child};
    node = inner->children[child];
  }
  path->leaf = static_cast<Leaf*>(node);
  for (path->slot = 0; path->slot < path->leaf->count; ++path->slot) {
    if (path->leaf->entries[path->slot]->superseded() != 0) return true;
  }
  return false;
}

// The first entry >= `from` that has something to free.
bool KeyIndex::SeekSuperseded(std::string_view from, Path* path) const {
  Descend(from, path);
  for (; path->slot < path->leaf->count; ++path->slot) {
    if (path->leaf->entries[path->slot]->superseded() != 0) return true;
  }
  // Upwards until a later subtree has some.
  while (path->depth > 0) {
    Step& step = path->steps[path->depth - 1];
    while (++step.child < step.inner->count) {
      if (step.inner->totals[step.child].superseded == 0) continue;
      return FirstSuperseded(path, step.inner->children[step.child]);
    }
    --path->depth;
  }
  return false;
}

void KeyIndex::ShrinkOlder(KeyEntry* entry, uint32_t drop_front) {
  OlderRefs* older = entry->older_block;
  if (drop_front == 0) return;
  const uint32_t left = older->count - drop_front;
  if (left == 0) return FreeOlder(entry);
  if (left * 4 <= older->capacity) {
    auto* small = new (allocator_->Allocate(OlderRefs::BlockBytes(left))) OlderRefs();
    small->count = small->capacity = left;
    std::copy(older->refs() + drop_front, older->refs() + older->count, small->refs());
    FreeOlder(entry);
    entry->older_block = small;
    return;
  }
  std::copy(older->refs() + drop_front, older->refs() + older->count, older->refs());
  older->count = left;
}

// What stays of the records <= main: the last one if it is a put, and tombstones of `main` itself
// (a watch may still begin there). So a key that was deleted and put again within the compacted
// revision keeps both its deletion and its live record. False when nothing is left of the entry.
bool KeyIndex::CompactEntry(KeyEntry* entry, int64_t main,
                            absl::FunctionRef<void(const RecordRef&)> dropped, uint32_t* work) {
  const std::span<const PackedRef> older = entry->older();
  const bool newest_below = entry->newest.main <= main;
  const auto end =
      newest_below
          ? older.end()
          : std::upper_bound(older.begin(), older.end(), main,
                             [](int64_t value, const PackedRef& ref) { return value < ref.main; });
  const size_t below = static_cast<size_t>(end - older.begin());
  if (!newest_below && below == 0) return true;
  // Of equal mains the tombstones stay; puts between them do not.
  uint32_t kept_front = 0;
  OlderRefs* block = entry->older_block;
  for (size_t i = 0; i < below; ++i) {
    const PackedRef ref = older[i];
    const bool last = !newest_below && i + 1 == below;
    const bool stays = ref.tombstone() ? ref.main == main : last;
    if (stays) {
      block->refs()[kept_front++] = ref;
    } else {
      dropped(ref.Unpack());
      ++*work;
    }
  }
  // The kept ones go to where the newer ones begin, then all in front goes at once.
  if (block != nullptr && kept_front < below) {
    std::copy_backward(block->refs(), block->refs() + kept_front, block->refs() + below);
    ShrinkOlder(entry, static_cast<uint32_t>(below) - kept_front);
  }
  if (newest_below && entry->newest.tombstone() && entry->newest.main < main) {
    dropped(entry->newest.Unpack());
    ++*work;
    QR_CHECK(entry->older().empty());
    return false;
  }
  return true;
}

bool KeyIndex::Compact(int64_t main, uint32_t work_max, std::string* resume,
                       absl::FunctionRef<void(const RecordRef&)> dropped) {
  uint32_t work = 0;
  Path path;
  bool found = SeekSuperseded(*resume, &path);
  while (found) {
    KeyEntry* entry = path.leaf->entries[path.slot];
    if (work >= work_max) {
      resume->assign(entry->key());
      return true;
    }
    ++work;
    const Delta before = Minus(*entry);
    if (CompactEntry(entry, main, dropped, &work)) {
      AdjustTotals(path, Plus(before, *entry));
      // The neighbours are next, as a rule.
      while (++path.slot < path.leaf->count) {
        if (path.leaf->entries[path.slot]->superseded() != 0) break;
      }
      if (path.slot < path.leaf->count) continue;
      resume->assign(path.leaf->entries[path.leaf->count - 1]->key());
      resume->push_back('\0');
    } else {
      AdjustTotals(path, before);
      resume->assign(entry->key());
      Remove(path);
    }
    found = SeekSuperseded(*resume, &path);
  }
  return false;
}

// --- taking entries and nodes out

void KeyIndex::Remove(const Path& path) {
  Leaf* leaf = path.leaf;
  KeyEntry* entry = leaf->entries[path.slot];
  leaf->RemoveAt(path.slot);
  FreeEntry(entry);
  if (leaf->count < kFewChildren) MergeChild(path, path.depth - 1);
}

// The child at `level` of the path became small, perhaps empty.
void KeyIndex::MergeChild(const Path& path, int level) {
  if (level < 0) return;  // the root may be as small as it likes
  Inner* parent = path.steps[level].inner;
  const uint32_t at = path.steps[level].child;
  if (parent->children[at]->count == 0) {
    RemoveChild(path, level);
    return;
  }
  const auto fits = [&](uint32_t left) {
    return left + 1 < parent->count &&
           parent->children[left]->count + parent->children[left + 1]->count <= kJoinedMax;
  };
  if (fits(at)) {
    MergeWithNext(parent, at);
  } else if (at > 0 && fits(at - 1)) {
    MergeWithNext(parent, at - 1);
  } else {
    return;
  }
  if (parent->count < kFewChildren) MergeChild(path, level - 1);
  while (!root_->is_leaf() && root_->count == 1) {
    Node* old = root_;
    root_ = static_cast<Inner*>(old)->children[0];
    FreeNode(old);
  }
}

void KeyIndex::MergeWithNext(Inner* parent, uint32_t slot) {
  Node* left = parent->children[slot];
  Node* right = parent->children[slot + 1];
  const std::string_view separator = parent->RemoveChild(slot + 1);
  if (left->is_leaf()) {
    static_cast<Leaf*>(left)->TakeNext(static_cast<Leaf*>(right));
    FreeSeparator(separator);
  } else {
    static_cast<Inner*>(left)->TakeNext(static_cast<Inner*>(right), separator);
  }
  FreeNode(right);
  parent->totals[slot] = SumOf(left);
}

// Takes out an empty child; a parent that becomes empty by it goes as well.
void KeyIndex::RemoveChild(const Path& path, int level) {
  Inner* parent = path.steps[level].inner;
  const uint32_t at = path.steps[level].child;
  Node* child = parent->children[at];
  if (child->is_leaf()) {
    auto* leaf = static_cast<Leaf*>(child);
    if (leaf->previous != nullptr) leaf->previous->next = leaf->next;
    if (leaf->next != nullptr) leaf->next->previous = leaf->previous;
  }
  FreeSeparator(parent->RemoveChild(at));
  FreeNode(child);
  if (parent->count == 0 && level == 0) {
    FreeNode(parent);
    root_ = New<Leaf>();
    return;
  }
  if (parent->count < kFewChildren) MergeChild(path, level - 1);
  while (!root_->is_leaf() && root_->count == 1) {
    Node* old = root_;
    root_ = static_cast<Inner*>(old)->children[0];
    FreeNode(old);
  }
}

}  // namespace quorate::engine
