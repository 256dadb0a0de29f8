// Proposals: batched, ordered here or sent to the member that leads, and found again when their
// entry is applied: by index and term where they were ordered, by request id elsewhere.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "consensus/conf_change.h"
#include "engine/errors.h"
#include "server/replica.h"
#include "server/request_id.h"

namespace quorate::server {

using engine::Error;
using engine::Reply;

void Replica::Propose(Proposal proposal) {
  // Every queue counts: what no leader took yet, and what the engine has still to apply.
  if (committed_.size() > options_.apply_backlog_max || batch_.size() >= options_.forwarded_max ||
      forwarded_.size() >= options_.forwarded_max) {
    refused_.push_back({std::move(proposal.waiter), Reply{engine::errors::kTooManyRequests, {}}});
    return;
  }
  batch_bytes_ += proposal.payload.size();
  batch_.push_back(std::move(proposal));
}

bool Replica::LeadsPeers() const {
  const consensus::ConfState& conf = raft_->conf_state();
  return raft_->role() == consensus::Role::kLeader && conf.voters.size() + conf.learners.size() > 1;
}

// Ordered with this member's own, so that they share its rounds. Nobody here waits for them: they
// are dropped with the lead.
void Replica::TakeForwarded(consensus::Message message) {
  for (Entry& entry : message.entries) {
    Proposal proposal;
    proposal.type = entry.type;
    proposal.payload = std::move(entry.data);
    proposal.only_in_term = raft_->term();
    Propose(std::move(proposal));
  }
}

bool Replica::BatchIsDue(int64_t now_ns) const {
  if (batch_.size() >= options_.batch_entries_max || batch_bytes_ >= options_.batch_bytes_max) {
    return true;
  }
  return now_ns - batch_since_ns_ >= options_.batch_linger_ns &&
         (!LeadsPeers() || pacer_.Due(batch_.size(), now_ns));
}

int64_t Replica::BatchDueNs() const {
  const int64_t lingered_ns = batch_since_ns_ + options_.batch_linger_ns;
  return LeadsPeers() ? std::max(lingered_ns, pacer_.next_ns()) : lingered_ns;
}

void Replica::SubmitBatch(int64_t now_ns, Effects* effects) {
  if (LeadsPeers()) {
    const uint64_t ordered = raft_->last_index().value() - engine_->applied_index().value();
    pacer_.Saw(ordered + batch_.size(), now_ns);
  }
  if (batch_.empty()) {
    batch_since_ns_ = 0;
    return;
  }
  if (batch_since_ns_ == 0) batch_since_ns_ = now_ns;
  if (!BatchIsDue(now_ns)) {
    effects->wake_at_ns = BatchDueNs();
    return;
  }
  if (!Replayed()) return;
  DropOutdated(effects);
  size_t first = 0;
  while (first < batch_.size()) {
    size_t last = first + 1;
    if (batch_[first].type == EntryType::kNormal) {
      while (last < batch_.size() && batch_[last].type == EntryType::kNormal) ++last;
    }
    if (!Submit(first, last, now_ns, effects)) break;  // kept until it can go, or time is up
    first = last;
  }
  batch_.erase(batch_.begin(), batch_.begin() + static_cast<ptrdiff_t>(first));
  batch_bytes_ = 0;
  for (const Proposal& proposal : batch_) batch_bytes_ += proposal.payload.size();
  if (batch_.empty()) batch_since_ns_ = 0;
  if (first == 0 || !LeadsPeers()) return;
  pacer_.Left(now_ns);
  // Asked for now, so that whoever brings the next proposals need not wake the owner for it.
  if (pacer_.Crowded()) effects->wake_at_ns = std::min(effects->wake_at_ns, pacer_.next_ns());
}

void Replica::DropOutdated(Effects* effects) {
  const bool leads = raft_->role() == consensus::Role::kLeader;
  std::erase_if(batch_, [&](Proposal& proposal) {
    if (!proposal.only_in_term || (leads && proposal.only_in_term == raft_->term())) return false;
    effects->completions.push_back(
        {std::move(proposal.waiter), Reply{engine::errors::kProposalDropped, {}}});
    return true;
  });
}

absl::Status Replica::GiveToRaft(size_t first, size_t last) {
  if (batch_[first].type != EntryType::kNormal) {
    const absl::StatusOr<consensus::ConfChange> change =
        consensus::DecodeConfChange(batch_[first].type, batch_[first].payload);
    QR_CHECK_MSG(change.ok(), "a proposed configuration change cannot be read");
    return raft_->ProposeConfChange(*change);
  }
  std::vector<Bytes> payloads;
  payloads.reserve(last - first);
  for (size_t i = first; i < last; ++i) payloads.push_back(batch_[i].payload);
  return raft_->Propose(std::move(payloads));
}

bool Replica::Submit(size_t first, size_t last, int64_t now_ns, Effects* effects) {
  const bool leads = raft_->role() == consensus::Role::kLeader;
  const LogIndex before = raft_->last_index();
  const absl::Status accepted = GiveToRaft(first, last);
  if (absl::IsUnavailable(accepted)) return false;         // no leader, or the lead changes hands
  if (absl::IsFailedPrecondition(accepted)) return false;  // an earlier change is not applied yet
  if (!accepted.ok()) {
    const Error error = absl::IsResourceExhausted(accepted)
                            ? Error(engine::errors::kTooManyRequests)
                            : Error{2, std::string(accepted.message())};
    for (size_t i = first; i < last; ++i) {
      effects->completions.push_back({std::move(batch_[i].waiter), Reply{error, {}}});
    }
    return true;
  }
  if (leads) {
    QR_CHECK(raft_->last_index() == LogIndex(before.value() + (last - first)));
    FailOverwritten(before.Next(), effects);
  }
  LogIndex index = before;
  for (size_t i = first; i < last; ++i) {
    ++index;
    Track(std::move(batch_[i]), leads ? index : LogIndex(0), now_ns);
  }
  return true;
}

// `index` 0 = it went to another member.
void Replica::Track(Proposal proposal, LogIndex index, int64_t now_ns) {
  proposal.waiter.stamps.Stamp(Stage::kProposed, now_ns);
  if (index != LogIndex(0)) {
    waiting_.push_back({index, raft_->term(), std::move(proposal.waiter)});
  } else if (proposal.waiter.done) {
    if (proposal.id == RequestId(0)) {
      proposal.id = RequestIdOf(proposal.type, proposal.payload.view());
    }
    QR_CHECK(proposal.id != RequestId(0));
    forwarded_deadlines_.push_back({proposal.id, proposal.waiter.deadline_ns});
    const bool is_new = forwarded_.emplace(proposal.id, std::move(proposal.waiter)).second;
    QR_CHECK(is_new);
  }
}

// This member leads again and orders at an index where it had ordered before: what stood there was
// overwritten, with all behind it.
void Replica::FailOverwritten(LogIndex from, Effects* effects) {
  while (!waiting_.empty() && waiting_.back().index >= from) {
    effects->completions.push_back(
        {std::move(waiting_.back().waiter), Reply{engine::errors::kLeaderChanged, {}}});
    waiting_.pop_back();
  }
}

Waiter Replica::TakeWaiter(const Entry& entry, Effects* effects) {
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
  if (waiter.done || forwarded_.empty()) return waiter;
  const auto found = forwarded_.find(RequestIdOf(entry.type, entry.data.view()));
  if (found == forwarded_.end()) return waiter;
  waiter = std::move(found->second);
  forwarded_.erase(found);
  return waiter;
}

Error Replica::TimeoutError(const Waiter& waiter) const {
  const int64_t since_ns = waiter.stamps.at_ns[static_cast<size_t>(Stage::kProposed)];
  const int64_t lost_ns = leader_since_ns_ - 2 * options_.election_timeout_ns;
  if (since_ns > lost_ns && since_ns < leader_since_ns_) {
    return engine::errors::kTimeoutDueToLeaderFail;
  }
  if (leader_ == MemberId(0)) return engine::errors::kTimeout;
  const std::vector<MemberId>& voters = raft_->conf_state().voters;
  const bool lost = raft_->role() == consensus::Role::kLeader
                        ? ConnectedSince(voters, since_ns) < voters.size() / 2 + 1
                        : ConnectedSince({leader_}, since_ns) == 0;
  if (lost) return engine::errors::kTimeoutDueToConnectionLost;
  return engine::errors::kTimeout;
}

void Replica::ExpireProposals(int64_t now_ns, Effects* effects) {
  const auto overdue = [now_ns](const Waiter& waiter) {
    return waiter.done && waiter.deadline_ns <= now_ns;
  };
  for (InFlight& flight : waiting_) {
    if (!flight.waiter.done) continue;
    if (!overdue(flight.waiter)) break;  // deadlines come in order of proposing, nearly
    const Error error = TimeoutError(flight.waiter);
    effects->completions.push_back({std::exchange(flight.waiter, Waiter{}), Reply{error, {}}});
  }
  while (!forwarded_deadlines_.empty() && forwarded_deadlines_.front().deadline_ns <= now_ns) {
    const auto found = forwarded_.find(forwarded_deadlines_.front().id);
    if (found != forwarded_.end()) {
      const Error error = TimeoutError(found->second);
      effects->completions.push_back({std::move(found->second), Reply{error, {}}});
      forwarded_.erase(found);
    }
    forwarded_deadlines_.pop_front();
  }
  // Ordered nowhere: no leader took it.
  size_t expired = 0;
  while (expired < batch_.size() && overdue(batch_[expired].waiter)) {
    batch_bytes_ -= batch_[expired].payload.size();
    effects->completions.push_back(
        {std::move(batch_[expired].waiter), Reply{engine::errors::kContextDeadlineExceeded, {}}});
    ++expired;
  }
  batch_.erase(batch_.begin(), batch_.begin() + static_cast<ptrdiff_t>(expired));
}

}  // namespace quorate::server
