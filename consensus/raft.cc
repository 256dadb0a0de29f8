// The public face.

#include "consensus/raft.h"

#include <utility>

#include "consensus/raft_core.h"

namespace quorate::consensus {

Raft::Raft(const Config& config, InitialState initial, Random* random)
    : core_(std::make_unique<RaftCore>(config, std::move(initial), random)) {}
Raft::~Raft() = default;

void Raft::Tick() { core_->Tick(); }
void Raft::Receive(Message message) { core_->Receive(std::move(message)); }

absl::Status Raft::Propose(std::vector<Bytes> payloads) {
  std::vector<Entry> entries(payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) entries[i].data = std::move(payloads[i]);
  return core_->Propose(std::move(entries));
}
absl::Status Raft::ProposeConfChange(const ConfChange& change) {
  return core_->ProposeConfChange(change);
}

void Raft::Durable(LogIndex index, Term term) { core_->Durable(index, term); }
void Raft::Applied(LogIndex index) { core_->Applied(index); }
absl::StatusOr<ConfState> Raft::ApplyConfChange(const ConfChange& change) {
  return core_->ApplyConfChange(change);
}
void Raft::Compacted(LogIndex index) { core_->Compacted(index); }
void Raft::LogRead(LogReadAnswer answer) { core_->LogRead(std::move(answer)); }

void Raft::SnapshotReady(MemberId peer, SnapshotMeta meta) {
  core_->SnapshotReady(peer, std::move(meta));
}
void Raft::ReportSnapshot(MemberId peer, SnapshotResult result) {
  core_->ReportSnapshot(peer, result);
}
void Raft::SnapshotInstalled(const SnapshotMeta& meta) { core_->SnapshotInstalled(meta); }
void Raft::SnapshotAbandoned(const SnapshotMeta& meta) { core_->SnapshotAbandoned(meta); }

void Raft::ReportUnreachable(MemberId peer) { core_->ReportUnreachable(peer); }
absl::Status Raft::TransferLeadership(MemberId to) { return core_->TransferLeadership(to); }
void Raft::ReadIndex(uint64_t context) { core_->ReadIndex(context); }

Output Raft::TakeOutput() { return core_->TakeOutput(); }
bool Raft::HasOutput() const { return core_->HasOutput(); }

Role Raft::role() const { return core_->role(); }
MemberId Raft::leader() const { return core_->leader; }
Term Raft::term() const { return core_->hard_state.term; }
LogIndex Raft::commit() const { return core_->log.commit(); }
LogIndex Raft::last_index() const { return core_->log.last_index(); }
const ConfState& Raft::conf_state() const { return core_->conf; }
bool Raft::leader_ready() const { return core_->leader_ready(); }
Status Raft::status() const { return core_->status(); }

}  // namespace quorate::consensus
