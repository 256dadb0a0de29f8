#include "backends/log/entry_index.h"

#include <algorithm>

#include "base/check.h"

namespace quorate::log {
namespace {

constexpr uint64_t kWordBytes = 8;

}  // namespace

void EntryIndex::Reset(LogIndex first, Term term_before_first) {
  QR_CHECK(first.value() != 0);
  first_ = first;
  term_before_first_ = term_before_first;
  slots_.clear();
  runs_.clear();
}

void EntryIndex::Put(LogIndex index, const EntryPlace& place) {
  QR_CHECK(index >= first_ && index <= last().Next());
  QR_CHECK(place.offset % kWordBytes == 0 && place.offset / kWordBytes <= UINT32_MAX);
  slots_.resize(index.value() - first_.value());
  while (!runs_.empty() && runs_.back().first >= index) runs_.pop_back();
  slots_.push_back({static_cast<uint32_t>(place.offset / kWordBytes), place.length});
  if (runs_.empty() || runs_.back().term != place.term || runs_.back().segment != place.segment) {
    runs_.push_back({index, place.term, place.segment});
  }
}

void EntryIndex::PutBeforeFirst(LogIndex index, Term term) {
  QR_CHECK(index < first_);
  slots_.clear();
  runs_.clear();
  if (index.Next() == first_) term_before_first_ = term;
}

void EntryIndex::DropThrough(LogIndex index) {
  QR_CHECK(index.Next() >= first_ && index <= last());
  if (index < first_) return;
  term_before_first_ = RunOf(index).term;
  slots_.erase(slots_.begin(),
               slots_.begin() + static_cast<ptrdiff_t>(index.value() - first_.value() + 1));
  first_ = index.Next();
  while (runs_.size() > 1 && runs_[1].first <= first_) runs_.pop_front();
  if (slots_.empty()) runs_.clear();
}

const EntryIndex::Run& EntryIndex::RunOf(LogIndex index) const {
  auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                [](LogIndex wanted, const Run& run) { return wanted < run.first; });
  QR_CHECK(after != runs_.begin());
  return *--after;
}

EntryPlace EntryIndex::At(LogIndex index) const {
  QR_CHECK(Has(index));
  const Run& run = RunOf(index);
  const Slot& slot = slots_[index.value() - first_.value()];
  return {run.term, run.segment, slot.offset_words * kWordBytes, slot.length};
}

std::optional<Term> EntryIndex::TermAt(LogIndex index) const {
  if (index.Next() == first_) return term_before_first_;
  if (!Has(index)) return std::nullopt;
  return RunOf(index).term;
}

}  // namespace quorate::log
