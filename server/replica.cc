#include "server/replica.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/errors.h"
#include "proto/raft_internal.pb.h"
#include "proto/raftpb.pb.h"

namespace quorate::server {

using engine::Engine;
using engine::Error;
using engine::Reply;

Replica::Replica(const ReplicaOptions& options, consensus::Raft* raft, engine::Engine* engine,
                 engine::WatchHub* hub)
    : options_(options),
      raft_(raft),
      engine_(engine),
      hub_(hub),
      compact_revision_seen_(engine->compact_revision()) {}

void Replica::Tick(int64_t now_ns) {
  raft_->Tick();
  engine_->lessor().SetNow(now_ns);
  RevokeExpired(now_ns);
  hub_->Tick(now_ns);
}

void Replica::Propose(Proposal proposal) {
  // Both queues count: what raft committed and what the engine has still to apply.
  if (committed_.size() > options_.apply_backlog_max) {
    refused_.push_back({std::move(proposal.waiter), Reply{engine::errors::kTooManyRequests, {}}});
    return;
  }
  batch_bytes_ += proposal.payload.size();
  batch_.push_back(std::move(proposal));
}

void Replica::ReadState(Read read) {
  if (read.consistency == Read::Consistency::kLocal) {
    read.run(*engine_);
  } else {
    reads_new_.push_back(std::move(read));
  }
}

void Replica::Durable(LogIndex index, Term term, int64_t now_ns) {
  raft_->Durable(index, term);
  durable_at_.push_back({index, now_ns});
}

void Replica::Flushed(uint64_t sequence) { engine_->Flushed(sequence); }

void Replica::CatchUpDone(std::unique_ptr<engine::CatchUpJob> job) { hub_->Finish(std::move(job)); }

Effects Replica::Advance(int64_t now_ns) {
  Effects effects;
  effects.completions.swap(refused_);
  SubmitBatch(now_ns, &effects);
  AskReadIndex();
  CollectOutput(&effects);
  ApplyCommitted(now_ns, &effects);
  FollowLeadership(now_ns);
  if (effects.applied != 0) {
    for (auto& task : std::exchange(when_applied_, {})) task(*this);
  }
  ServeReads();
  PublishEvents();
  if (compact_slice_) {
    compact_slice_ = false;
    if (engine_->CompactionPending() && !engine_->WindowFull()) {
      engine_->CompactSlice(options_.compaction_steps);
    }
  }
  SealAndFlush(now_ns, &effects);
  AnswerCompacted(&effects);
  ExpireOverdue(now_ns, &effects);
  for (std::unique_ptr<engine::CatchUpJob>& job : hub_->TakeJobs()) {
    absl::StatusOr<std::unique_ptr<engine::HistoryReader>> history = engine_->NewHistoryReader();
    QR_CHECK_MSG(history.ok(), ToStd(history.status().message()));
    effects.catch_up.push_back({std::move(job), *std::move(history)});
  }
  // A compaction that has to wait (for the backend, for a pinned read) goes on with the input that
  // frees it.
  effects.more = raft_->HasOutput() || (engine_->CompactionPending() && !engine_->WindowFull());
  return effects;
}

bool Replica::BatchIsDue(int64_t now_ns) const {
  return batch_.size() >= options_.batch_entries_max || batch_bytes_ >= options_.batch_bytes_max ||
         now_ns - batch_since_ns_ >= options_.batch_linger_ns;
}

void Replica::SubmitBatch(int64_t now_ns, Effects* effects) {
  if (batch_.empty()) {
    batch_since_ns_ = 0;
    return;
  }
  if (batch_since_ns_ == 0) batch_since_ns_ = now_ns;
  if (!BatchIsDue(now_ns)) {
    effects->wake_at_ns = batch_since_ns_ + options_.batch_linger_ns;
    return;
  }
  if (raft_->role() != consensus::Role::kLeader) return;  // kept until there is one, or time is up
  std::vector<Bytes> payloads;
  payloads.reserve(batch_.size());
  for (const Proposal& proposal : batch_) payloads.push_back(proposal.payload);
  const LogIndex before = raft_->last_index();
  const absl::Status accepted = raft_->Propose(std::move(payloads));
  LogIndex index = before;
  for (Proposal& proposal : batch_) {
    if (!accepted.ok()) {
      const Error error = absl::IsResourceExhausted(accepted)
                              ? Error(engine::errors::kTooManyRequests)
                              : Error(engine::errors::kProposalDropped);
      effects->completions.push_back({std::move(proposal.waiter), Reply{error, {}}});
      continue;
    }
    ++index;
    proposal.waiter.stamps.Stamp(Stage::kProposed, now_ns);
    waiting_.push_back({index, raft_->term(), std::move(proposal.waiter)});
  }
  QR_CHECK(!accepted.ok() || raft_->last_index() == index);
  batch_.clear();
  batch_bytes_ = 0;
  batch_since_ns_ = 0;
}

void Replica::AskReadIndex() {
  if (reads_new_.empty() || !raft_->leader_ready()) return;
  read_batches_.push_back({++read_context_, std::nullopt, std::move(reads_new_)});
  reads_new_.clear();
  raft_->ReadIndex(read_context_);
}

void Replica::CollectOutput(Effects* effects) {
  if (!raft_->HasOutput()) return;
  consensus::Output output = raft_->TakeOutput();
  if (output.hard_state) effects->hard_state = output.hard_state;
  effects->append = std::move(output.append);
  for (Entry& entry : output.committed) committed_.push_back(std::move(entry));
  for (const consensus::ReadReady& ready : output.reads) {
    for (ReadBatch& batch : read_batches_) {
      if (batch.context == ready.context) batch.index = ready.index;
    }
  }
  for (const uint64_t dropped : output.reads_dropped) {
    for (ReadBatch& batch : read_batches_) {
      if (batch.context != dropped) continue;
      for (Read& read : batch.reads) reads_new_.push_back(std::move(read));
      batch.reads.clear();
      batch.index = LogIndex(0);
    }
  }
}

void Replica::ApplyCommitted(int64_t now_ns, Effects* effects) {
  while (!committed_.empty() && !engine_->WindowFull()) {
    const Entry entry = std::move(committed_.front());
    committed_.pop_front();
    ApplyOne(entry, now_ns, effects);
    ++effects->applied;
  }
  const uint64_t applied = engine_->applied_index().value();
  if (effects->applied != 0 && applied > options_.peer_entries_kept) {
    raft_->Compacted(LogIndex(applied - options_.peer_entries_kept));
  }
}

void Replica::ApplyOne(const Entry& entry, int64_t now_ns, Effects* effects) {
  while (!durable_at_.empty() && durable_at_.front().index < entry.index) durable_at_.pop_front();
  Waiter waiter;
  while (!waiting_.empty() && waiting_.front().index <= entry.index) {
    InFlight& front = waiting_.front();
    if (front.index == entry.index && front.term == entry.term) {
      waiter = std::move(front.waiter);
    } else if (front.waiter.done) {
      // Another leader's entry took its place.
      effects->completions.push_back(
          {std::move(front.waiter), Reply{engine::errors::kLeaderChanged, {}}});
    }
    waiting_.pop_front();
  }
  if (entry.type != EntryType::kNormal) ApplyConfChange(entry);
  const Engine::Answer answer = waiter.done ? Engine::Answer::kWanted : Engine::Answer::kNotWanted;
  Reply reply = engine_->Apply(entry, answer);
  if (!waiter.done) return;
  if (!durable_at_.empty()) waiter.stamps.Stamp(Stage::kDurable, durable_at_.front().at_ns);
  waiter.stamps.Stamp(Stage::kApplied, now_ns);
  effects->completions.push_back({std::move(waiter), std::move(reply)});
}

void Replica::ApplyConfChange(const Entry& entry) {
  raftpb::ConfChange change;
  QR_CHECK_MSG(change.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size())),
               "a committed configuration entry cannot be read");
  consensus::ConfState state = raft_->conf_state();
  if (change.type() == raftpb::ConfChangeAddNode) {
    const MemberId id(change.node_id());
    if (std::find(state.voters.begin(), state.voters.end(), id) == state.voters.end()) {
      state.voters.push_back(id);
      std::sort(state.voters.begin(), state.voters.end());
    }
    if (std::optional<etcdserverpb::Member> member = engine::ParseMemberJson(change.context())) {
      engine_->BootstrapMember(*member);
    }
  }
  raft_->ApplyConfState(state);
}

void Replica::ServeReads() {
  while (!read_batches_.empty()) {
    ReadBatch& batch = read_batches_.front();
    if (!batch.index || engine_->applied_index() < *batch.index) return;
    for (Read& read : batch.reads) read.run(*engine_);
    read_batches_.pop_front();
  }
}

void Replica::PublishEvents() {
  for (const engine::EventBatchPtr& batch : engine_->TakeEvents()) hub_->Publish(batch);
  if (engine_->compact_revision() != compact_revision_seen_) {
    compact_revision_seen_ = engine_->compact_revision();
    hub_->Compacted(compact_revision_seen_);
  }
}

void Replica::RevokeExpired(int64_t now_ns) {
  if (!raft_->leader_ready() || !engine_->lessor().primary()) return;
  for (const LeaseId lease : engine_->lessor().TakeExpired(now_ns)) {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_lease_revoke()->set_id(lease.value());
    Proposal proposal;
    proposal.payload = Bytes::FromString(request.SerializeAsString());
    proposal.waiter.done = [this, lease](Reply reply) {
      if (!reply.error.ok()) engine_->lessor().RevokeFailed(lease);
    };
    Propose(std::move(proposal));
  }
}

void Replica::FollowLeadership(int64_t now_ns) {
  const bool leads = raft_->leader_ready();
  if (leads == was_leader_) return;
  was_leader_ = leads;
  if (leads) {
    engine_->lessor().Promote(now_ns, 0);
  } else {
    engine_->lessor().Demote();
  }
}

void Replica::SealAndFlush(int64_t now_ns, Effects* effects) {
  Engine::Seal seal = Engine::Seal::kFullOnly;
  if (seal_now_ || now_ns - last_seal_ns_ >= options_.seal_interval_ns) {
    seal = Engine::Seal::kNow;
    seal_now_ = false;
    last_seal_ns_ = now_ns;
  }
  effects->chunks = engine_->TakeSealed(seal);
}

void Replica::WhenApplied(absl::AnyInvocable<void(Replica&)> task) {
  when_applied_.push_back(std::move(task));
}

void Replica::WaitPhysicallyCompacted(int64_t revision, Completion completion) {
  seal_now_ = true;
  compaction_waits_.push_back({revision, std::move(completion)});
}

void Replica::AnswerCompacted(Effects* effects) {
  const int64_t done = engine_->PhysicallyCompacted();
  std::erase_if(compaction_waits_, [&](CompactionWait& wait) {
    if (wait.revision > done) return false;
    effects->completions.push_back(std::move(wait.completion));
    return true;
  });
  if (!compaction_waits_.empty() && !engine_->CompactionPending()) seal_now_ = true;
}

void Replica::ExpireOverdue(int64_t now_ns, Effects* effects) {
  const auto overdue = [now_ns](const Waiter& waiter) {
    return waiter.done && waiter.deadline_ns <= now_ns;
  };
  for (InFlight& flight : waiting_) {
    if (!flight.waiter.done) continue;
    if (!overdue(flight.waiter)) break;  // deadlines come in order of proposing, nearly
    effects->completions.push_back(
        {std::exchange(flight.waiter, Waiter{}), Reply{engine::errors::kTimeout, {}}});
  }
  if (!batch_.empty() && overdue(batch_.front().waiter)) {
    // Ordered nowhere: no leader took it. All of the batch is about equally old.
    for (Proposal& proposal : batch_) {
      effects->completions.push_back(
          {std::move(proposal.waiter), Reply{engine::errors::kContextDeadlineExceeded, {}}});
    }
    batch_.clear();
    batch_bytes_ = 0;
  }
  if (!reads_new_.empty() && reads_new_.front().deadline_ns <= now_ns) {
    for (Read& read : reads_new_) read.fail(engine::errors::kTimeout);
    reads_new_.clear();
  }
}

}  // namespace quorate::server
