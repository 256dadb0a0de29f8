// Linearizable reads: gathered in batches, each asks raft for one read index (here or, through
// raft, of the leader) and is served when the engine has applied it (thesis §6.4).

#include <utility>

#include "base/check.h"
#include "engine/errors.h"
#include "server/replica.h"

namespace quorate::server {
namespace {

// Rounds under way at one time: reads that come meanwhile share the next.
constexpr size_t kRoundsMax = 2;

}  // namespace

void Replica::ReadState(Read read) {
  if (read.consistency == Read::Consistency::kLocal) {
    if (installing_) return reads_held_.push_back(std::move(read));
    read.run(*engine_);
  } else {
    reads_new_.push_back(std::move(read));
  }
}

void Replica::AskReadIndex(int64_t now_ns) {
  if (reads_new_.empty() || !Replayed()) return;
  const bool leads = raft_->role() == consensus::Role::kLeader;
  if (leads ? !raft_->leader_ready() : raft_->leader() == MemberId(0)) return;
  if (read_batches_.size() >= kRoundsMax && !read_batches_.back().index) return;
  read_batches_.push_back({++read_context_, now_ns, std::nullopt, std::move(reads_new_)});
  reads_new_.clear();
  raft_->ReadIndex(read_context_);
}

void Replica::TakeReadAnswers(const consensus::Output& output) {
  for (const consensus::ReadReady& ready : output.reads) {
    size_t answered = 0;
    for (size_t i = 0; i < read_batches_.size(); ++i) {
      if (read_batches_[i].context == ready.context) answered = i + 1;
    }
    // An index confirmed after a later read was asked serves the earlier ones as well.
    for (size_t i = 0; i < answered; ++i) {
      if (!read_batches_[i].index) read_batches_[i].index = ready.index;
    }
  }
  for (const uint64_t context : output.reads_dropped) AskAgain(context);
}

void Replica::AskAgain(uint64_t context) {
  for (auto batch = read_batches_.begin(); batch != read_batches_.end(); ++batch) {
    if (batch->context != context || batch->index) continue;
    for (Read& read : batch->reads) reads_new_.push_back(std::move(read));
    read_batches_.erase(batch);
    return;
  }
}

void Replica::ServeReads() {
  while (!read_batches_.empty() && !installing_) {
    ReadBatch& batch = read_batches_.front();
    if (!batch.index || engine_->applied_index() < *batch.index) return;
    for (Read& read : batch.reads) read.run(*engine_);
    read_batches_.pop_front();
  }
}

void Replica::ExpireReads(int64_t now_ns) {
  // A question or its answer may be lost on the way.
  while (!read_batches_.empty() && !read_batches_.front().index &&
         now_ns - read_batches_.front().asked_ns >= options_.read_retry_interval_ns) {
    ++read_counters_.asked_again;
    AskAgain(read_batches_.front().context);
  }
  const auto fail_overdue = [this, now_ns](std::vector<Read>& reads) {
    if (reads.empty() || reads.front().deadline_ns > now_ns) return;
    std::erase_if(reads, [this, now_ns](Read& read) {
      if (read.deadline_ns > now_ns) return false;
      ++read_counters_.failed;
      read.fail(engine::errors::kTimeout);
      return true;
    });
  };
  fail_overdue(reads_new_);
  fail_overdue(reads_held_);
  for (ReadBatch& batch : read_batches_) fail_overdue(batch.reads);
}

}  // namespace quorate::server
