#include "consensus/entry_log.h"

#include <utility>

#include "base/check.h"

namespace quorate::consensus {
namespace {

uint64_t MemoryBytes(const Entry& entry) { return sizeof(Entry) + entry.data.size(); }

}  // namespace

EntryLog::EntryLog(const InitialState& initial)
    : first_(initial.entries.empty() ? initial.last_index.Next() : initial.entries.front().index),
      term_before_first_(initial.term_before_entries),
      written_(initial.last_index),
      durable_(initial.last_index),
      commit_(initial.applied),
      handed_(initial.applied),
      applied_(initial.applied) {
  for (const Entry& entry : initial.entries) Append(entry);
  QR_CHECK(last_index() == initial.last_index);
  QR_CHECK(applied_ <= last_index());
  QR_CHECK(applied_.Next() == first_);
  QR_CHECK(initial.hard_state.commit <= last_index());
  Commit(initial.hard_state.commit);
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

bool EntryLog::HasConfChange(LogIndex after, LogIndex to) const {
  for (LogIndex i = std::max(after.Next(), first_); i <= std::min(to, last_index()); ++i) {
    if (At(i).type != EntryType::kNormal) return true;
  }
  return false;
}

void EntryLog::Append(Entry entry) {
  QR_CHECK(entry.index == last_index().Next());
  QR_CHECK(entry.term >= last_term());
  uncommitted_bytes_ += entry.data.size();
  memory_bytes_ += MemoryBytes(entry);
  entries_.push_back(std::move(entry));
}

void EntryLog::Truncate(LogIndex from) {
  QR_CHECK_MSG(from > commit_, "a leader wants to replace a committed entry");
  while (last_index() >= from) {
    uncommitted_bytes_ -= entries_.back().data.size();
    memory_bytes_ -= MemoryBytes(entries_.back());
    entries_.pop_back();
  }
  durable_ = std::min(durable_, from.Prev());
  written_ = std::min(written_, from.Prev());
}

void EntryLog::Merge(std::vector<Entry> entries) {
  for (Entry& entry : entries) {
    if (entry.index < first_) continue;
    if (entry.index <= last_index()) {
      if (At(entry.index).term == entry.term) continue;
      Truncate(entry.index);
    }
    Append(std::move(entry));
  }
}

void EntryLog::SetDurable(LogIndex index, Term term) {
  if (index <= durable_ || TermAt(index) != term) return;
  QR_CHECK(index <= written_);
  durable_ = index;
}

bool EntryLog::Commit(LogIndex index) {
  if (index <= commit_) return false;
  QR_CHECK(index <= last_index());
  for (LogIndex i = commit_.Next(); i <= index; ++i) uncommitted_bytes_ -= At(i).data.size();
  commit_ = index;
  return true;
}

void EntryLog::SetApplied(LogIndex index) {
  QR_CHECK(index <= handed_);
  applied_ = std::max(applied_, index);
}

void EntryLog::Restore(LogIndex index, Term term) {
  QR_CHECK(index > commit_);
  entries_.clear();
  memory_bytes_ = uncommitted_bytes_ = 0;
  first_ = index.Next();
  term_before_first_ = term;
  written_ = durable_ = commit_ = handed_ = applied_ = index;
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
  if (from < first_) return out;
  uint64_t bytes = 0;
  for (LogIndex i = from; i <= last_index(); ++i) {
    bytes += At(i).data.size();
    if (!out.empty() && bytes > bytes_max) break;
    out.push_back(At(i));
  }
  return out;
}

void EntryLog::Trim(uint64_t bytes_max) {
  const LogIndex through = std::min(applied_, durable_);
  while (memory_bytes_ > bytes_max && first_ <= through) {
    memory_bytes_ -= MemoryBytes(entries_.front());
    term_before_first_ = entries_.front().term;
    entries_.pop_front();
    ++first_;
  }
}

}  // namespace quorate::consensus
