#include "consensus/entry_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quorate::consensus {

EntryLog::EntryLog(const InitialState& initial)
    : first_(initial.entries.empty() ? initial.last_index.Next() : initial.entries.front().index),
      durable_(initial.last_index),
      commit_(std::max(initial.hard_state.commit, initial.applied)),
      handed_(initial.applied),
      written_(initial.last_index) {
  for (const Entry& entry : initial.entries) {
    QR_CHECK(entry.index.value() == first_.value() + entries_.size());
    entries_.push_back(entry);
  }
  term_before_first_ = initial.term_before_entries;
  QR_CHECK(last_index() == initial.last_index);
  QR_CHECK(handed_ <= last_index());
  QR_CHECK(handed_.Next() >= first_);
  QR_CHECK(commit_ <= last_index());
}

const Entry& EntryLog::At(LogIndex index) const {
  QR_CHECK(index >= first_ && index <= last_index());
  return entries_[index.value() - first_.value()];
}

std::optional<Term> EntryLog::TermAt(LogIndex index) const {
  if (index == first_.Prev()) return term_before_first_;
  if (index < first_ || index > last_index()) return std::nullopt;
  return At(index).term;
}

bool EntryLog::UpToDate(LogIndex index, Term term) const {
  return term > last_term() || (term == last_term() && index >= last_index());
}

void EntryLog::Append(Entry entry) {
  QR_CHECK(entry.index == last_index().Next());
  QR_CHECK(entry.term >= last_term());
  uncommitted_bytes_ += entry.data.size();
  entries_.push_back(std::move(entry));
}

void EntryLog::Merge(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (entry.index < first_) continue;
    if (entry.index <= last_index()) {
      if (At(entry.index).term == entry.term) continue;
      QR_CHECK_MSG(entry.index > commit_, "a leader wants to replace a committed entry");
      entries_.resize(entry.index.value() - first_.value());
      durable_ = std::min(durable_, entry.index.Prev());
      written_ = std::min(written_, entry.index.Prev());
    }
    Append(entry);
  }
}

void EntryLog::SetDurable(LogIndex index, Term term) {
  // A sync of entries that were replaced since says nothing of the new ones.
  if (index <= durable_ || TermAt(index) != term) return;
  QR_CHECK(index <= written_);
  durable_ = index;
}

bool EntryLog::Commit(LogIndex index) {
  if (index <= commit_) return false;
  QR_CHECK(index <= last_index());
  for (LogIndex i = std::max(commit_.Next(), first_); i <= index; ++i) {
    uncommitted_bytes_ -= std::min<uint64_t>(uncommitted_bytes_, At(i).data.size());
  }
  commit_ = index;
  return true;
}

std::vector<Entry> EntryLog::TakeUnwritten() {
  std::vector<Entry> out;
  out.reserve(last_index().value() - written_.value());
  for (LogIndex i = written_.Next(); i <= last_index(); ++i) out.push_back(At(i));
  written_ = last_index();
  return out;
}

std::vector<Entry> EntryLog::TakeCommitted() {
  // Only what is durable here is applied: the engine never runs ahead of the own log.
  const LogIndex through = std::min(commit_, durable_);
  std::vector<Entry> out;
  if (through <= handed_) return out;
  out.reserve(through.value() - handed_.value());
  for (LogIndex i = handed_.Next(); i <= through; ++i) out.push_back(At(i));
  handed_ = through;
  return out;
}

std::vector<Entry> EntryLog::Slice(LogIndex from, uint64_t bytes_max) const {
  std::vector<Entry> out;
  uint64_t bytes = 0;
  for (LogIndex i = from; i >= first_ && i <= last_index(); ++i) {
    bytes += At(i).data.size();
    if (!out.empty() && bytes > bytes_max) break;
    out.push_back(At(i));
  }
  return out;
}

void EntryLog::Forget(LogIndex index) {
  const LogIndex through = std::min({index, handed_, durable_});
  while (!entries_.empty() && first_ <= through) {
    term_before_first_ = entries_.front().term;
    entries_.pop_front();
    ++first_;
  }
}

}  // namespace quorate::consensus
