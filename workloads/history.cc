#include "workloads/history.h"

#include "base/check.h"
#include "base/text.h"

namespace quorate::workload {

History::History(CheckLog* checks) : checks_(checks), blocks_(kBlocks) {}

History::~History() { Reset(0); }

void History::Reset(int64_t base) {
  for (auto& block : blocks_) delete block.exchange(nullptr);
  base_ = base;
  newest_ = base;
  changes_ = 0;
  full_ = false;
}

const History::Slot* History::Find(int64_t revision) const {
  const int64_t offset = revision - base_ - 1;
  if (offset < 0 || offset >= kRevisionsMax) return nullptr;
  const Block* block =
      blocks_[static_cast<size_t>(offset / kBlockRevisions)].load(std::memory_order_acquire);
  return block == nullptr ? nullptr : &block->slots[offset % kBlockRevisions];
}

History::Slot* History::FindOrMake(int64_t revision) {
  const int64_t offset = revision - base_ - 1;
  QR_CHECK(offset >= 0);
  if (offset >= kRevisionsMax) {
    full_.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  auto& place = blocks_[static_cast<size_t>(offset / kBlockRevisions)];
  Block* block = place.load(std::memory_order_acquire);
  if (block == nullptr) {
    auto fresh = std::make_unique<Block>();
    if (place.compare_exchange_strong(block, fresh.get(), std::memory_order_acq_rel)) {
      block = fresh.release();
    }
  }
  int64_t newest = newest_.load(std::memory_order_relaxed);
  while (newest < revision &&
         !newest_.compare_exchange_weak(newest, revision, std::memory_order_relaxed)) {
  }
  return &block->slots[offset % kBlockRevisions];
}

bool History::Record(const Change& change, Slot* slot) {
  const uint64_t subject = SubjectOf(change);
  uint64_t known = slot->subject.load(std::memory_order_relaxed);
  if (known == 0 && slot->subject.compare_exchange_strong(known, subject)) {
    known = subject;
    changes_.fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t known_tag = slot->tag.load(std::memory_order_relaxed);
  if (known_tag == 0 && slot->tag.compare_exchange_strong(known_tag, change.tag)) {
    known_tag = change.tag;
  }
  return checks_->Expect(Check::kRevision, known == subject && known_tag == change.tag, [&] {
    const auto describe = [](uint64_t what, uint64_t tag) {
      return StrCat(DeletedOf(what) ? "delete of key " : "put of key ", KeyOf(what), " (writer ",
                    tag >> 32, ", put ", tag & UINT32_MAX, ")");
    };
    return StrCat("revision ", change.revision, " is ", describe(subject, change.tag),
                  " here and was ", describe(known, known_tag), " elsewhere");
  });
}

bool History::Acknowledged(const Change& change) {
  Slot* slot = FindOrMake(change.revision);
  if (slot == nullptr) return true;
  if (!Record(change, slot)) return false;
  slot->guard.store(change.guard, std::memory_order_relaxed);
  return checks_->Expect(Check::kRevision, !slot->acknowledged.exchange(true), [&] {
    return StrCat("revision ", change.revision, " was answered to two writes of key ", change.key);
  });
}

bool History::Seen(const Change& change) {
  if (change.revision <= base_) return true;
  Slot* slot = FindOrMake(change.revision);
  return slot == nullptr || Record(change, slot);
}

}  // namespace quorate::workload
