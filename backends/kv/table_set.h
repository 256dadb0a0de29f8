// TableSet: the ordered tables of a backend in RAM, in versions. One writer makes the next version;
// readers pin the latest one and see exactly that state for as long as they hold the pin.
//
// Memory: what a batch replaces is freed as soon as no version that can reach it is pinned. Freeing
// is done by the writer (and by whoever drops a snapshot), never by a plain read.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "backends/kv/ordered_tree.h"

namespace quorate::kv {

class TableSet {
 public:
  struct Version {
    std::array<PackedNode*, kTableCount> roots{};
    uint64_t sequence = 0;

    const PackedNode* root(Table table) const { return roots[static_cast<size_t>(table)]; }

   private:
    friend class TableSet;
    uint64_t pins = 0;
    std::vector<PackedNode*> replaced;  // reachable from here and older, not from the next version
  };

  // Keeps one version alive. Movable; any thread.
  class Pin {
   public:
    Pin() = default;
    Pin(const TableSet* set, Version* version) : set_(set), version_(version) {}
    Pin(Pin&& other) noexcept { *this = std::move(other); }
    Pin& operator=(Pin&& other) noexcept {
      std::swap(set_, other.set_);
      std::swap(version_, other.version_);
      return *this;
    }
    ~Pin() {
      if (version_ != nullptr) set_->Unpin(version_);
    }
    const Version& operator*() const { return *version_; }
    const Version* operator->() const { return version_; }

   private:
    const TableSet* set_ = nullptr;
    Version* version_ = nullptr;
  };

  explicit TableSet(Allocator* allocator);
  ~TableSet();  // no pin may be left
  TableSet(const TableSet&) = delete;
  TableSet& operator=(const TableSet&) = delete;

  Pin PinLatest() const;
  uint64_t latest_sequence() const;  // of the version that PinLatest would give

  // Writer: between Begin and Commit the changes; readers see them after Commit.
  void Begin();
  void Put(Table table, std::string_view key, std::string_view value);
  void Delete(Table table, std::string_view key);
  void DeleteRange(Table table, std::string_view begin, std::string_view end);
  void Clear();  // all tables
  void Apply(const WriteOp& op);
  void Commit();
  // As the open batch sees it; the batch may not go on before it returns.
  void Scan(Table table, std::string_view begin, std::string_view end, TreeVisitor visitor) const;

  // Frees what no pin can reach any more. Any thread.
  void Collect() const;

  // Writer only: as of the last change.
  const TreeTotals& totals() const { return totals_; }

 private:
  PackedNode** RootOf(Table table) { return &next_->roots[static_cast<size_t>(table)]; }
  TreeEditor Editor();
  void Unpin(Version* version) const;

  Allocator* const allocator_;
  TreeTotals totals_;
  std::unique_ptr<Version> next_;           // the open batch; null between batches
  std::vector<PackedNode*> next_replaced_;  // of the version before next_

  mutable std::mutex mutex_;
  mutable std::deque<std::unique_ptr<Version>> versions_;  // oldest first; the last is the latest
};

}  // namespace quorate::kv
