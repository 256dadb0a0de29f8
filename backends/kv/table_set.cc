#include "backends/kv/table_set.h"

#include <utility>

#include "base/check.h"

namespace quorate::kv {

TableSet::TableSet(Allocator* allocator) : allocator_(allocator) {
  QR_CHECK(allocator_ != nullptr);
  versions_.push_back(std::make_unique<Version>());
}

TableSet::~TableSet() {
  QR_CHECK_MSG(next_ == nullptr, "a batch is still open");
  Collect();
  QR_CHECK_MSG(versions_.size() == 1 && versions_.front()->pins == 0, "a reader is still there");
  for (PackedNode* root : versions_.front()->roots) TreeDestroy(allocator_, root);
}

TableSet::Pin TableSet::PinLatest() const {
  std::lock_guard lock(mutex_);
  Version* latest = versions_.back().get();
  ++latest->pins;
  return Pin(this, latest);
}

uint64_t TableSet::latest_sequence() const {
  std::lock_guard lock(mutex_);
  return versions_.back()->sequence;
}

void TableSet::Unpin(Version* version) const {
  std::lock_guard lock(mutex_);
  QR_CHECK(version->pins > 0);
  --version->pins;
}

void TableSet::Begin() {
  QR_CHECK(next_ == nullptr);
  next_ = std::make_unique<Version>();
  // Only the writer adds versions, so the latest stays the latest until Commit.
  std::lock_guard lock(mutex_);
  next_->roots = versions_.back()->roots;
  next_->sequence = versions_.back()->sequence + 1;
}

TreeEditor TableSet::Editor() {
  QR_CHECK(next_ != nullptr);
  return TreeEditor(allocator_, next_->sequence, &next_replaced_, &totals_);
}

void TableSet::Put(Table table, std::string_view key, std::string_view value) {
  PackedNode** root = RootOf(table);
  *root = Editor().Put(*root, key, value);
}

void TableSet::Delete(Table table, std::string_view key) {
  PackedNode** root = RootOf(table);
  *root = Editor().Delete(*root, key);
}

void TableSet::DeleteRange(Table table, std::string_view begin, std::string_view end) {
  PackedNode** root = RootOf(table);
  *root = Editor().DeleteRange(*root, begin, end);
}

void TableSet::Clear() {
  for (size_t i = 0; i < kTableCount; ++i) DeleteRange(static_cast<Table>(i), {}, {});
}

void TableSet::Apply(const WriteOp& op) {
  switch (op.kind) {
    case WriteOp::Kind::kPut:
      return Put(op.table, op.key, op.value_or_end);
    case WriteOp::Kind::kDelete:
      return Delete(op.table, op.key);
    case WriteOp::Kind::kDeleteRange:
      return DeleteRange(op.table, op.key, op.value_or_end);
  }
}

void TableSet::Scan(Table table, std::string_view begin, std::string_view end,
                    TreeVisitor visitor) const {
  QR_CHECK(next_ != nullptr);
  TreeScan(next_->root(table), begin, end, visitor);
}

void TableSet::Commit() {
  QR_CHECK(next_ != nullptr);
  {
    std::lock_guard lock(mutex_);
    versions_.back()->replaced = std::move(next_replaced_);
    versions_.push_back(std::move(next_));
  }
  next_replaced_.clear();
  Collect();
}

void TableSet::Collect() const {
  std::vector<std::unique_ptr<Version>> unreachable;
  {
    std::lock_guard lock(mutex_);
    while (versions_.size() > 1 && versions_.front()->pins == 0) {
      unreachable.push_back(std::move(versions_.front()));
      versions_.pop_front();
    }
  }
  for (const auto& version : unreachable) {
    for (PackedNode* node : version->replaced) PackedNode::Destroy(allocator_, node);
  }
}

}  // namespace quorate::kv
