#include "server/replica.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "consensus/conf_change.h"
#include "engine/auth/auth_store.h"
#include "engine/auth/simple_tokens.h"
#include "engine/errors.h"

namespace quorate::server {
namespace {

constexpr size_t kCheckpointsPerEntry = 1000;  // as etcd

}  // namespace

using engine::Engine;
using engine::Error;
using engine::Reply;

Replica::Replica(const ReplicaOptions& options, consensus::Raft* raft, engine::Engine* engine,
                 engine::WatchHub* hub)
    : options_(options),
      raft_(raft),
      engine_(engine),
      hub_(hub),
      replay_through_(raft->commit()),
      pacer_(options.batch_pace_ns),
      read_context_(options.first_read_context),
      compact_revision_seen_(engine->compact_revision()),
      auto_compactor_(options.auto_compaction) {}

void Replica::Tick(int64_t now_ns) {
  if (Replayed()) raft_->Tick();
  for (auto& job : std::exchange(not_run_, {})) hub_->Finish(std::move(job));
  hub_->Tick(now_ns);
  ticked_ = true;
}

void Replica::Receive(consensus::Message message) {
  if (message.type == consensus::MessageType::kPropose && LeadsPeers()) {
    return TakeForwarded(std::move(message));
  }
  raft_->Receive(std::move(message));
}

void Replica::Durable(LogIndex index, Term term, int64_t now_ns) {
  raft_->Durable(index, term);
  durable_at_.push_back({index, now_ns});
}

void Replica::Flushed(uint64_t sequence) { engine_->Flushed(sequence); }

void Replica::CatchUpDone(std::unique_ptr<engine::CatchUpJob> job) {
  if (installing_) return landed_.push_back(std::move(job));
  hub_->Finish(std::move(job));
}

void Replica::HashDone(std::unique_ptr<engine::CompactionHash> done) {
  hashing_.erase(std::find(hashing_.begin(), hashing_.end(), done->revision()));
  engine_->KeepCompactionHash(std::move(done));
}

Effects Replica::Advance(int64_t now_ns) {
  Effects effects;
  engine_->simple_tokens().SetNow(now_ns);
  engine_->lessor().SetNow(now_ns);  // what is granted now counts from now, not from the last tick
  effects.completions.swap(refused_);
  SubmitBatch(now_ns, &effects);
  const size_t kept = batch_.size();
  AskReadIndex(now_ns);
  CollectOutput(&effects);
  ApplyCommitted(now_ns, &effects);
  FollowLeadership(now_ns);
  if (effects.applied != 0 || ticked_) {
    // Also after each applied revoke: the next ones must not wait for a tick.
    RevokeExpired(now_ns);
    CheckpointLeases(now_ns);
    if (ticked_) CompactByItself(now_ns);
    ticked_ = false;
    for (auto& task : std::exchange(later_, {})) task(*this);
  }
  ServeReads();
  PublishEvents();
  Compact(&effects);
  if (!effects.snapshots_wanted.empty()) seal_now_ = true;
  SealAndFlush(now_ns, &effects);
  AnswerCompacted(&effects);
  ExpireProposals(now_ns, &effects);
  ExpireReads(now_ns);
  TakeCatchUp(&effects);
  // A compaction that has to wait (for the backend, for a pinned read) goes on with the input that
  // frees it. Proposals that waited for an apply (of a configuration) or came up during it want
  // another round; others that no leader takes wait for an input.
  const bool batch_may_go = raft_->role() == consensus::Role::kLeader && BatchIsDue(now_ns) &&
                            batch_.size() > (effects.applied != 0 ? 0 : kept);
  effects.more = raft_->HasOutput() || batch_may_go;
  effects.compaction = engine_->CompactionPending() && !engine_->WindowFull() && !installing_;
  return effects;
}

void Replica::Compact(Effects* effects) {
  const uint32_t steps = std::min(std::exchange(compact_steps_, 0), options_.compaction_steps);
  if (steps == 0 || installing_) return;
  if (!engine_->CompactionPending() || engine_->WindowFull()) return;
  if (std::unique_ptr<engine::CompactionHash> hash = engine_->TakeCompactionHash()) {
    hashing_.push_back(hash->revision());
    effects->compaction_hashes.push_back(std::move(hash));
  }
  engine_->CompactSlice(steps);
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

void Replica::CollectOutput(Effects* effects) {
  if (!raft_->HasOutput()) return;
  consensus::Output output = raft_->TakeOutput();
  TakeReadAnswers(output);
  effects->hard_state = output.hard_state;
  effects->append = std::move(output.append);
  effects->messages = std::move(output.messages);
  effects->messages_after_durable = std::move(output.messages_after_durable);
  effects->log_reads = std::move(output.log_reads);
  effects->snapshots_wanted = std::move(output.snapshots_wanted);
  effects->install = std::move(output.install);
  for (Entry& entry : output.committed) committed_.push_back(std::move(entry));
  if (!effects->install) return;
  committed_.clear();  // the snapshot holds all of it
  installing_ = true;
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
  Waiter waiter = TakeWaiter(entry, effects);
  const bool is_conf_change = entry.type != EntryType::kNormal;
  const Engine::Answer answer =
      waiter.done || is_conf_change ? Engine::Answer::kWanted : Engine::Answer::kNotWanted;
  Reply reply = engine_->Apply(entry, answer);
  if (is_conf_change) ApplyConfChange(entry, reply.error, effects);
  if (!waiter.done) return;
  if (!durable_at_.empty()) waiter.stamps.Stamp(Stage::kDurable, durable_at_.front().at_ns);
  waiter.stamps.Stamp(Stage::kApplied, now_ns);
  effects->completions.push_back({std::move(waiter), std::move(reply)});
}

void Replica::ApplyConfChange(const Entry& entry, const Error& refused, Effects* effects) {
  absl::StatusOr<consensus::ConfChange> change =
      consensus::DecodeConfChange(entry.type, entry.data);
  QR_CHECK_MSG(change.ok(), "a committed configuration entry cannot be read");
  // What the engine refused by etcd's rules must change nothing for raft either, but raft has to
  // hear that its turn is over.
  if (!refused.ok()) {
    for (consensus::ConfChangeSingle& single : change->changes) single.member = MemberId(0);
  }
  const absl::StatusOr<consensus::ConfState> state = raft_->ApplyConfChange(*change);
  QR_CHECK_MSG(state.ok(), ToStd(state.status().message()));
  if (!refused.ok()) return;
  effects->members_changed = true;
  for (const consensus::ConfChangeSingle& single : change->changes) {
    if (single.type != consensus::ConfChangeType::kRemoveMember) continue;
    connected_since_ns_.erase(single.member);
    if (single.member == engine_->header().member) effects->removed = true;
  }
}

void Replica::PublishEvents() {
  for (const engine::EventBatchPtr& batch : engine_->TakeEvents()) hub_->Publish(batch);
  if (engine_->compact_revision() != compact_revision_seen_) {
    compact_revision_seen_ = engine_->compact_revision();
    hub_->Compacted(compact_revision_seen_);
  }
}

// What this leader decided by its own clock: worth nothing once another leads.
void Replica::ProposeOwn(const etcdserverpb::InternalRaftRequest& request, int64_t now_ns,
                         absl::AnyInvocable<void(engine::Reply)> done) {
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.only_in_term = raft_->term();
  proposal.waiter.deadline_ns = now_ns + options_.request_timeout_ns;
  proposal.waiter.done = std::move(done);
  Propose(std::move(proposal));
}

void Replica::RevokeExpired(int64_t now_ns) {
  if (!raft_->leader_ready() || !engine_->lessor().primary()) return;
  for (const LeaseId lease : engine_->lessor().TakeExpired(now_ns)) {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_lease_revoke()->set_id(lease.value());
    if (engine_->auth().enabled()) {  // whoever owns the keys
      request.mutable_header()->set_username(engine::kRootUser);
      request.mutable_header()->set_auth_revision(engine_->auth().revision());
    }
    ProposeOwn(request, now_ns, [this, lease](const Reply& reply) {
      if (!reply.error.ok()) engine_->lessor().RevokeFailed(lease);
    });
  }
}

void Replica::CheckpointLeases(int64_t now_ns) {
  if (options_.lease_checkpoint_interval_ns == 0 || !raft_->leader_ready()) return;
  const std::vector<engine::LeaseRecord> records =
      engine_->lessor().TakeCheckpoints(now_ns, options_.lease_checkpoint_interval_ns);
  for (size_t first = 0; first < records.size(); first += kCheckpointsPerEntry) {
    etcdserverpb::InternalRaftRequest request;
    const size_t last = std::min(records.size(), first + kCheckpointsPerEntry);
    for (size_t i = first; i < last; ++i) {
      auto* point = request.mutable_lease_checkpoint()->add_checkpoints();
      point->set_id(records[i].id.value());
      point->set_remaining_ttl(records[i].remaining_ttl_seconds);
    }
    ProposeOwn(request, now_ns, nullptr);
  }
}

void Replica::CompactByItself(int64_t now_ns) {
  if (!Replayed()) return;
  const std::optional<int64_t> revision = auto_compactor_.Look(
      now_ns, engine_->current_revision(),
      raft_->leader_ready() ? AutoCompactor::Role::kLeads : AutoCompactor::Role::kFollows);
  if (!revision) return;
  etcdserverpb::InternalRaftRequest request;
  request.mutable_compaction()->set_revision(*revision);
  ProposeOwn(request, now_ns, [this](const Reply& reply) { auto_compactor_.Done(reply.error); });
}

void Replica::FollowLeadership(int64_t now_ns) {
  if (raft_->leader() != leader_ || (leaderless_since_ns_ == 0 && leader_ == MemberId(0))) {
    leader_ = raft_->leader();
    if (leader_ == MemberId(0)) {
      leaderless_since_ns_ = now_ns;
    } else {
      leaderless_since_ns_ = INT64_MAX;
      leader_since_ns_ = now_ns;
    }
  }
  const bool ready = raft_->leader_ready();
  if (ready == was_ready_) return;
  was_ready_ = ready;
  if (ready) {
    // Nobody knows how long there was no leader to renew with: an election timeout is given away.
    engine_->lessor().Promote(now_ns, options_.election_timeout_ns);
  } else {
    engine_->lessor().Demote();
  }
}

void Replica::SealAndFlush(int64_t now_ns, Effects* effects) {
  if (installing_) return;
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

void Replica::SnapshotInstalled(const consensus::SnapshotMeta& meta, engine::Engine* engine) {
  QR_CHECK(engine->applied_index() == meta.index);
  engine::HeaderFields header = engine_->header();
  header.term = std::max(header.term, meta.term);
  engine->SetHeader(header);
  engine_ = engine;
  was_ready_ = false;
  hub_->StoreReplaced(engine->mutable_watch_store());
  compact_revision_seen_ = engine->compact_revision();
  // What was ordered here and lies behind the snapshot was applied somewhere, or overwritten: who
  // waits must look for himself.
  while (!waiting_.empty() && waiting_.front().index <= meta.index) {
    refused_.push_back(
        {std::move(waiting_.front().waiter), Reply{engine::errors::kTimeoutDueToLeaderFail, {}}});
    waiting_.pop_front();
  }
  durable_at_.clear();
  raft_->SnapshotInstalled(meta);
  ResumeAfterInstall();
}

LogIndex Replica::LogNotNeeded(LogIndex through) const {
  const uint64_t kept = options_.log_kept_for_peers_max;
  const LogIndex lowest(through.value() > kept ? through.value() - kept : 0);
  LogIndex needed = through;
  for (const consensus::PeerStatus& peer : raft_->status().peers) {
    if (peer.active) needed = std::min(needed, peer.match);
  }
  return std::max(needed, lowest);
}

void Replica::SnapshotAbandoned(const consensus::SnapshotMeta& meta) {
  raft_->SnapshotAbandoned(meta);
  ResumeAfterInstall();
}

void Replica::ResumeAfterInstall() {
  installing_ = false;
  for (auto& job : std::exchange(landed_, {})) hub_->Finish(std::move(job));
  for (Read& read : std::exchange(reads_held_, {})) read.run(*engine_);
}

Error Replica::TransferLeadership(MemberId to) {
  const absl::Status status = raft_->TransferLeadership(to);
  if (status.ok()) return {};
  if (absl::IsInvalidArgument(status)) return engine::errors::kBadLeaderTransferee;
  return engine::errors::kNoLeader;
}

void Replica::SetConnectedSince(MemberId peer, std::optional<int64_t> since_ns) {
  if (since_ns) {
    connected_since_ns_[peer] = *since_ns;
  } else {
    connected_since_ns_.erase(peer);
  }
}

size_t Replica::ConnectedSince(const std::vector<MemberId>& members, int64_t since_ns) const {
  size_t connected = 0;
  for (const MemberId member : members) {
    const auto since = connected_since_ns_.find(member);
    const bool is_self = member == engine_->header().member;
    if (is_self || (since != connected_since_ns_.end() && since->second < since_ns)) ++connected;
  }
  return connected;
}

}  // namespace quorate::server
