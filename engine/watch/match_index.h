// MatchIndex: which watched intervals contain a key? Single keys sit in a hash table; ranges in an
// interval tree (a treap ordered by begin, each node knowing the greatest end below it), so a
// lookup costs O(log ranges + matches). Equal intervals share one target.
//
// Intervals have etcd's form: empty end = the single key; end of one 0x00 byte = everything from
// begin on. A lookup visits the single key first, then ranges by (begin, end): the order depends on
// the content alone, never on hashes or history. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "base/check.h"

namespace quorate::engine {

inline constexpr std::string_view kFromKeyEnd{"\0", 1};

template <class Payload>
class MatchIndex {
 public:
  struct Target {
    std::string begin;
    std::string end;
    Payload payload;
  };

  // The target of this interval, made when it is new. Stays where it is until Remove.
  Target* Add(std::string_view begin, std::string_view end) {
    QR_CHECK(end.empty() || end == kFromKeyEnd || begin < end);
    if (end.empty()) return AddKey(begin);
    const Bounds bounds{begin, end};
    if (Node* found = Find(bounds)) return found;
    auto node = std::make_unique<Node>();
    node->begin = begin;
    node->end = end;
    node->priority = NextPriority();
    node->greatest = node.get();
    Node* added = node.get();
    Insert(&root_, std::move(node));
    ++ranges_;
    return added;
  }

  void Remove(Target* target) {
    if (target->end.empty()) {
      const auto it = keys_.find(std::string_view(target->begin));
      QR_CHECK(it != keys_.end());
      keys_.erase(it);
      return;
    }
    Erase(&root_, Bounds{target->begin, target->end});
    --ranges_;
  }

  size_t size() const { return keys_.size() + ranges_; }

  // Calls visit(Target&) for each interval that contains `key`. It must not add or remove.
  template <class Visit>
  void Match(std::string_view key, Visit&& visit) {
    if (!keys_.empty()) {
      const auto it = keys_.find(key);
      if (it != keys_.end()) visit(**it);
    }
    if (root_ != nullptr) Stab(root_.get(), key, visit);
  }

 private:
  struct Bounds {
    std::string_view begin, end;
  };
  struct Node : Target {
    uint64_t priority = 0;
    const Node* greatest = nullptr;  // whose end is the greatest in this subtree
    std::unique_ptr<Node> left, right;
  };
  using Link = std::unique_ptr<Node>;

  struct KeyOf {
    std::string_view operator()(std::string_view key) const { return key; }
    std::string_view operator()(const std::unique_ptr<Target>& t) const { return t->begin; }
  };
  struct Hash {
    using is_transparent = void;
    template <class T>
    size_t operator()(const T& item) const {
      const std::string_view key = KeyOf()(item);
      return absl::Hash<absl::string_view>()(absl::string_view(key.data(), key.size()));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf()(a) == KeyOf()(b);
    }
  };

  Target* AddKey(std::string_view key) {
    const auto it = keys_.find(key);
    if (it != keys_.end()) return it->get();
    auto target = std::make_unique<Target>();
    target->begin = key;
    return keys_.insert(std::move(target)).first->get();
  }

  // Priorities only balance the tree; a fixed sequence (splitmix64) keeps runs repeatable.
  uint64_t NextPriority() {
    uint64_t z = (priority_state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  static bool Less(const Bounds& a, const Bounds& b) {
    const int order = a.begin.compare(b.begin);
    return order != 0 ? order < 0 : a.end < b.end;
  }
  static Bounds BoundsOf(const Node& node) { return {node.begin, node.end}; }
  static bool EndsAfter(const Node& node, std::string_view key) {
    return node.end == kFromKeyEnd || key < node.end;
  }
  static const Node* Later(const Node* a, const Node* b) {
    if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
    if (a->end == kFromKeyEnd) return a;
    return EndsAfter(*b, a->end) ? b : a;
  }
  static const Node* GreatestOf(const Link& link) { return link ? link->greatest : nullptr; }
  static void Update(Node* node) {
    node->greatest = Later(node, Later(GreatestOf(node->left), GreatestOf(node->right)));
  }

  Node* Find(const Bounds& bounds) const {
    Node* node = root_.get();
    while (node != nullptr) {
      if (Less(bounds, BoundsOf(*node))) {
        node = node->left.get();
      } else if (Less(BoundsOf(*node), bounds)) {
        node = node->right.get();
      } else {
        return node;
      }
    }
    return nullptr;
  }

  static void Insert(Link* root, Link node) {
    if (*root == nullptr || (*root)->priority < node->priority) {
      Split(std::move(*root), BoundsOf(*node), &node->left, &node->right);
      *root = std::move(node);
    } else {
      Link* side = Less(BoundsOf(*node), BoundsOf(**root)) ? &(*root)->left : &(*root)->right;
      Insert(side, std::move(node));
    }
    Update(root->get());
  }

  static void Split(Link tree, const Bounds& at, Link* less, Link* greater) {
    if (tree == nullptr) return;
    Node* node = tree.get();
    if (Less(BoundsOf(*node), at)) {
      Link right = std::move(node->right);
      Split(std::move(right), at, &node->right, greater);
      *less = std::move(tree);
    } else {
      Link left = std::move(node->left);
      Split(std::move(left), at, less, &node->left);
      *greater = std::move(tree);
    }
    Update(node);
  }

  static Link Join(Link less, Link greater) {
    if (less == nullptr || greater == nullptr) return less ? std::move(less) : std::move(greater);
    if (less->priority > greater->priority) {
      less->right = Join(std::move(less->right), std::move(greater));
      Update(less.get());
      return less;
    }
    greater->left = Join(std::move(less), std::move(greater->left));
    Update(greater.get());
    return greater;
  }

  static void Erase(Link* root, const Bounds& bounds) {
    QR_CHECK(*root != nullptr);
    Node* node = root->get();
    if (Less(bounds, BoundsOf(*node))) {
      Erase(&node->left, bounds);
    } else if (Less(BoundsOf(*node), bounds)) {
      Erase(&node->right, bounds);
    } else {
      *root = Join(std::move(node->left), std::move(node->right));  // `bounds` may die here
      return;
    }
    Update(node);
  }

  template <class Visit>
  static void Stab(Node* node, std::string_view key, Visit& visit) {
    if (!EndsAfter(*node->greatest, key)) return;
    if (node->left != nullptr) Stab(node->left.get(), key, visit);
    if (key < node->begin) return;
    if (EndsAfter(*node, key)) visit(static_cast<Target&>(*node));
    if (node->right != nullptr) Stab(node->right.get(), key, visit);
  }

  absl::flat_hash_set<std::unique_ptr<Target>, Hash, Equal> keys_;
  Link root_;
  size_t ranges_ = 0;
  uint64_t priority_state_ = 0;
};

}  // namespace quorate::engine
