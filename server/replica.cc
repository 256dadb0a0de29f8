#include "server/replica.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/errors.h"
#include "proto/raft_internal.pb.h"

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
  for (auto& job : std::exchange(not_run_, {})) hub_->Finish(std::move(job));
  hub_->Tick(now_ns);
  ticked_ = true;
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

void Replica::HashDone(std::unique_ptr<engine::CompactionHash> done) {
  hashing_.erase(std::find(hashing_.begin(), hashing_.end(), done->revision()));
  engine_->KeepCompactionHash(std::move(done));
}

Effects Replica::Advance(int64_t now_ns) {
  Effects effects;
  engine_->lessor().SetNow(now_ns);  // what is granted now counts from now, not from the last tick
  effects.completions.swap(refused_);
  SubmitBatch(now_ns, &effects);
  AskReadIndex();
  CollectOutput(&effects);
  ApplyCommitted(now_ns, &effects);
  FollowLeadership(now_ns);
  if (effects.applied != 0 || ticked_) {
    // Also after each applied revoke: the next ones must not wait for a tick.
    RevokeExpired(now_ns);
    ticked_ = false;
    for (auto& task : std::exchange(later_, {})) task(*this);
  }
  ServeReads();
  PublishEvents();
  Compact(&effects);
  SealAndFlush(now_ns, &effects);
  AnswerCompacted(&effects);
  ExpireOverdue(now_ns, &effects);
  TakeCatchUp(&effects);
  // A compaction that has to wait (for the backend, for a pinned read) goes on with the input that
  // frees it.
  const bool revokes =
      raft_->role() == consensus::Role::kLeader && !batch_.empty() && BatchIsDue(now_ns);
  effects.more =
      revokes || raft_->HasOutput() || (engine_->CompactionPending() && !engine_->WindowFull());
  return effects;
}

void Replica::Compact(Effects* effects) {
  if (!std::exchange(compact_slice_, false)) return;
  if (!engine_->CompactionPending() || engine_->WindowFull()) return;
  if (std::unique_ptr<engine::CompactionHash> hash = engine_->TakeCompactionHash()) {
    hashing_.push_back(hash->revision());
    effects->compaction_hashes.push_back(std::move(hash));
  }
  engine_->CompactSlice(options_.compaction_steps);
}

void Replica::TakeCatchUp(Effects* effects) {
  for (std::unique_ptr<engine::CatchUpJob>& job : hub_->TakeJobs()) {
    absl::StatusOr<std::unique_ptr<engine::HistoryReader>> history = engine_->NewHistoryReader();
    if (history.ok()) {
      effects->catch_up.push_back({std::move(job), *std::move(history)});
    } else {
      not_run_.push_back(std::move(job));
    }
  }
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
  if (effects->applied != 0) raft_->Applied(engine_->applied_index());
}

void Replica::ApplyOne(const Entry& entry, int64_t now_ns, Effects* effects) {
  if (apply_observer_) apply_observer_(entry);
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
  absl::StatusOr<consensus::ConfChange> change =
      consensus::DecodeConfChange(entry.type, entry.data);
  QR_CHECK_MSG(change.ok(), "a committed configuration entry cannot be read");
  if (change->changes.size() == 1 &&
      change->changes[0].type == consensus::ConfChangeType::kAddVoter) {
    if (std::optional<etcdserverpb::Member> member =
            engine::ParseMemberJson(change->context.view())) {
      engine_->BootstrapMember(*member);
    }
  }
  const absl::StatusOr<consensus::ConfState> state = raft_->ApplyConfChange(*change);
  QR_CHECK_MSG(state.ok(), ToStd(state.status().message()));
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
    engine_->lessor().Promote(now_ns, options_.election_timeout_ns);
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

void Replica::RunLater(absl::AnyInvocable<void(Replica&)> task) {
  later_.push_back(std::move(task));
}

void Replica::WaitPhysicallyCompacted(int64_t revision, Completion completion) {
  seal_now_ = true;
  compaction_waits_.push_back({revision, std::move(completion)});
}

void Replica::AnswerCompacted(Effects* effects) {
  const int64_t done = engine_->PhysicallyCompacted();
  std::erase_if(compaction_waits_, [&](CompactionWait& wait) {
    const bool hashing = std::any_of(hashing_.begin(), hashing_.end(),
                                     [&](int64_t revision) { return revision <= wait.revision; });
    if (wait.revision > done || hashing) return false;
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
