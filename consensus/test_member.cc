#include "consensus/test_member.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace quorate::consensus {
namespace {

uint64_t DigestAfter(uint64_t digest, const Entry& entry) {
  const auto mix = [&](uint64_t value) { digest = (digest ^ value) * 1099511628211u; };
  mix(entry.term.value());
  mix(entry.index.value());
  for (const char c : entry.data.view()) mix(static_cast<unsigned char>(c));
  return digest;
}

}  // namespace

TestMember::TestMember(const Config& config, const ConfState& founders, Random* random,
                       TestSnapshots* snapshots)
    : config_(config), random_(random), snapshots_(snapshots) {
  Found(founders);
  Restart();
}

void TestMember::Found(const ConfState& founders) {
  for (const MemberId id : founders.Members()) {
    ConfChange change;
    change.changes = {
        {founders.IsVoter(id) ? ConfChangeType::kAddVoter : ConfChangeType::kAddLearner, id}};
    EncodedConfChange encoded = EncodeConfChange(change);
    log_.push_back({Term(1), last_on_disk().Next(), encoded.type, std::move(encoded.data)});
    flushed_.conf = *ChangeConf(flushed_.conf, change);
    flushed_.index = last_on_disk();
    flushed_.term = Term(1);
    flushed_.digest = DigestAfter(flushed_.digest, log_.back());
  }
  durable_ = last_on_disk();
  if (!log_.empty()) hard_state_ = {Term(1), MemberId(0), last_on_disk()};
  synced_hard_state_ = hard_state_;
}

void TestMember::Restart() {
  QR_CHECK(raft_ == nullptr);
  state_ = flushed_;
  InitialState initial;
  initial.hard_state = hard_state_;
  initial.conf_state = state_.conf;
  initial.applied = state_.index;
  initial.term_before_entries = state_.term;
  for (const Entry& entry : log_) {
    if (entry.index > state_.index) initial.entries.push_back(entry);
  }
  initial.last_index = std::max(last_on_disk(), state_.index);
  initial.hard_state.commit = std::min(initial.hard_state.commit, initial.last_index);
  raft_ = std::make_unique<Raft>(config_, std::move(initial), random_);
}

void TestMember::Crash() {
  raft_.reset();
  if (durable_ < last_on_disk()) log_.resize(durable_.value() - log_base_.index.value());
  hard_state_ = synced_hard_state_;
  unsynced_ = false;
  waiting_for_sync_.clear();
  committed_.clear();
  log_reads_.clear();
  snapshots_wanted_.clear();
  install_.reset();
  applied_.clear();
  reads.clear();
  reads_dropped.clear();
}

void TestMember::Append(std::vector<Entry> entries) {
  for (Entry& entry : entries) {
    QR_CHECK(entry.index > log_base_.index && entry.index <= last_on_disk().Next());
    log_.resize(entry.index.value() - log_base_.index.value() - 1);
    durable_ = std::min(durable_, last_on_disk());
    log_.push_back(std::move(entry));
  }
}

void TestMember::Collect(std::vector<Message>* out) {
  if (!raft_->HasOutput()) return;
  Output output = raft_->TakeOutput();
  unsynced_ |= output.hard_state.has_value() || !output.append.empty() ||
               !output.messages_after_durable.empty();
  if (output.hard_state) hard_state_ = *output.hard_state;
  Append(std::move(output.append));
  for (Message& message : output.messages) out->push_back(std::move(message));
  for (Message& message : output.messages_after_durable) {
    waiting_for_sync_.push_back(std::move(message));
  }
  for (Entry& entry : output.committed) committed_.push_back(std::move(entry));
  for (const ReadReady& read : output.reads) reads.push_back(read);
  for (const uint64_t dropped : output.reads_dropped) reads_dropped.push_back(dropped);
  for (const LogReadRequest& request : output.log_reads) log_reads_.push_back(request);
  for (const MemberId peer : output.snapshots_wanted) snapshots_wanted_.push_back(peer);
  if (output.install) {
    QR_CHECK(!install_);
    install_ = std::move(output.install);
  }
}

void TestMember::Sync(std::vector<Message>* out) {
  unsynced_ = false;
  synced_hard_state_ = hard_state_;
  durable_ = last_on_disk();
  for (Message& message : waiting_for_sync_) out->push_back(std::move(message));
  waiting_for_sync_.clear();
  if (!log_.empty()) raft_->Durable(log_.back().index, log_.back().term);
}

void TestMember::ApplyOne(const Entry& entry) {
  QR_CHECK(entry.index == state_.index.Next());
  if (entry.type != EntryType::kNormal) {
    const absl::StatusOr<ConfChange> change = DecodeConfChange(entry.type, entry.data);
    QR_CHECK(change.ok());
    const absl::StatusOr<ConfState> conf = raft_->ApplyConfChange(*change);
    QR_CHECK_MSG(conf.ok(), StrCat(ToStd(conf.status().message()), " at ", entry.index.value(),
                                   " in ", ToText(state_.conf)));
    state_.conf = *conf;
  } else if (!entry.data.empty()) {
    applied_.push_back(std::string(entry.data.view()));
  }
  state_.index = entry.index;
  state_.term = entry.term;
  state_.digest = DigestAfter(state_.digest, entry);
  digests_[entry.index] = state_.digest;
}

void TestMember::Apply(size_t entries_max) {
  for (; entries_max > 0 && !committed_.empty(); --entries_max) {
    const Entry entry = std::move(committed_.front());
    committed_.pop_front();
    ApplyOne(entry);
    raft_->Applied(entry.index);
  }
}

std::optional<Term> TestMember::TermOnDisk(LogIndex index) const {
  if (index == log_base_.index) return log_base_.term;
  if (index < log_base_.index || index > last_on_disk()) return std::nullopt;
  return log_[index.value() - log_base_.index.value() - 1].term;
}

void TestMember::AnswerLogReads() {
  for (const LogReadRequest& request : std::exchange(log_reads_, {})) {
    LogReadAnswer answer{.id = request.id, .term_before = TermOnDisk(request.first.Prev())};
    uint64_t bytes = 0;
    for (LogIndex i = request.first; answer.term_before && i <= request.last; ++i) {
      const Entry& entry = log_[i.value() - log_base_.index.value() - 1];
      bytes += entry.data.size();
      if (!answer.entries.empty() && bytes > request.bytes_max) break;
      answer.entries.push_back(entry);
      ++entries_read_;
    }
    raft_->LogRead(std::move(answer));
  }
}

void TestMember::AnswerSnapshotsWanted() {
  for (const MemberId peer : std::exchange(snapshots_wanted_, {})) {
    (*snapshots_)[state_.index] = state_;
    raft_->SnapshotReady(peer, {state_.index, state_.term, state_.conf});
  }
}

void TestMember::AnswerInstall(Install how) {
  const InstallRequest request = *std::exchange(install_, std::nullopt);
  if (how == Install::kAbandoned) return raft_->SnapshotAbandoned(request.meta);
  committed_.clear();
  log_.clear();
  log_base_ = {request.meta.index, request.meta.term};
  durable_ = request.meta.index;
  flushed_ = state_ = snapshots_->at(request.meta.index);
  digests_[state_.index] = state_.digest;
  raft_->SnapshotInstalled(request.meta);
}

void TestMember::Compact(LogIndex index, Tell tell) {
  index = std::min(index, flushed_.index);
  if (index <= log_base_.index) return;
  const Term term = *TermOnDisk(index);
  log_.erase(log_.begin(),
             log_.begin() + static_cast<std::ptrdiff_t>(index.value() - log_base_.index.value()));
  log_base_ = {index, term};
  if (tell == Tell::kRaft) raft_->Compacted(index);
}

}  // namespace quorate::consensus
