// The replica: joins consensus and engine into one deterministic state machine (design.md §2.1).
// Inputs come in by the methods; Advance(now) does the work they allow and answers with Effects,
// which the owner carries out: append to the log, send to peers, flush to the backend, run jobs,
// answer clients. No threads, clock, disk, network or randomness of its own.
//
// Four indexes that are never mixed up: ordered (raft's last index), durable (synced log), applied
// (engine), flushed (backend).
// One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "base/stage_clock.h"
#include "consensus/raft.h"
#include "engine/engine.h"
#include "engine/watch/hub.h"
#include "proto/raft_internal.pb.h"
#include "server/auto_compactor.h"
#include "server/batch_pacer.h"

namespace quorate::server {

// Somebody who waits for the answer to a proposal. The owner of the replica calls `done` while it
// carries out Effects, never inside Advance.
struct Waiter {
  absl::AnyInvocable<void(engine::Reply)> done;  // empty: nobody waits
  StageStamps stamps;
  int64_t deadline_ns = INT64_MAX;
};

struct Proposal {
  EntryType type = EntryType::kNormal;
  Bytes payload;  // etcdserverpb.InternalRaftRequest; raftpb.ConfChange for kConfChange
  // The id that `payload` carries: where another member leads, the answer is found by it. 0 = the
  // payload has none; its answer is then only found where it was ordered.
  RequestId id;
  // Set: worth something only while this member leads in that term (a revocation of a lease is
  // decided by one leader's clock); dropped otherwise.
  std::optional<Term> only_in_term;
  Waiter waiter;
};

// A read of applied state. `run` is called once on the replica thread: for linearizable reads when
// the read index of its batch is applied, for local ones at once. `fail` instead, when the time is
// up first.
struct Read {
  enum class Consistency { kLinearizable, kLocal };
  Consistency consistency = Consistency::kLinearizable;
  absl::AnyInvocable<void(engine::Engine&)> run;
  absl::AnyInvocable<void(engine::Error)> fail;
  int64_t deadline_ns = INT64_MAX;
};

struct Completion {
  Waiter waiter;
  engine::Reply reply;
};

struct CatchUpWork {
  std::unique_ptr<engine::CatchUpJob> job;
  std::shared_ptr<engine::HistoryReader> history;
};

// What the owner has to do, in any order but for this: `append` and `hard_state` belong together,
// go to the log in the order of Effects, and `messages_after_durable` leave when they (and all
// before them) are durable.
struct Effects {
  std::vector<Entry> append;
  std::optional<HardState> hard_state;
  std::vector<consensus::Message> messages;  // may leave at once; kSnapshot goes with its bytes
  std::vector<consensus::Message> messages_after_durable;
  std::vector<Completion> completions;
  std::vector<std::shared_ptr<const engine::FlushChunk>> chunks;
  std::vector<CatchUpWork> catch_up;
  // To be run by a worker and handed back by HashDone.
  std::vector<std::unique_ptr<engine::CompactionHash>> compaction_hashes;
  // Read from the log store, answered by LogRead.
  std::vector<consensus::LogReadRequest> log_reads;
  // Peers that need the whole state: get one of the backend (everything applied was sealed with
  // this step's chunks) and answer by SnapshotReady, or ReportSnapshot(kFailed).
  std::vector<MemberId> snapshots_wanted;
  // Make this received snapshot the backend, let the log begin behind it, open an engine over it;
  // then SnapshotInstalled or SnapshotAbandoned. Nothing is applied meanwhile.
  std::optional<consensus::InstallRequest> install;
  uint32_t applied = 0;  // entries applied in this step
  bool members_changed = false;
  bool removed = false;  // this member is no longer one: stop, for good
  // There is work that needs no further input: call Advance again soon.
  bool more = false;
  // A compaction has work that can be done now: CompactSlice and Advance, at the owner's pace.
  bool compaction = false;
  // When the batch that is being filled must leave, if nothing else happens; INT64_MAX = none.
  int64_t wake_at_ns = INT64_MAX;
};

struct ReplicaOptions {
  uint32_t batch_entries_max = 1024;
  uint64_t batch_bytes_max = 4 << 20;
  int64_t batch_linger_ns = 0;
  int64_t batch_pace_ns = 0;  // of the rounds of a leader that has peers (server/batch_pacer.h)
  int64_t seal_interval_ns = 1'000'000'000;
  uint32_t compaction_steps = 1000;
  uint32_t apply_backlog_max = 5000;  // committed and not applied: more proposals are refused
  uint32_t forwarded_max = 50'000;    // proposals under way to another member that leads
  uint64_t log_kept_for_peers_max = 50'000;     // entries, beyond what the backend needs
  int64_t election_timeout_ns = 1'000'000'000;  // what leases get on top from a new leader
  int64_t lease_checkpoint_interval_ns = 0;     // 0 = leases are not checkpointed
  AutoCompaction auto_compaction;
  int64_t request_timeout_ns = 7'000'000'000;    // of proposals that the replica makes itself
  int64_t read_retry_interval_ns = 500'000'000;  // a read index that nobody answers is asked anew
  // Read contexts count from here; no two lives of a member may use the same (a peer's late answer
  // would be taken for another read's).
  uint64_t first_read_context = 0;
};

class Replica {
 public:
  // All outlive the replica, or until SnapshotInstalled brings another engine.
  Replica(const ReplicaOptions& options, consensus::Raft* raft, engine::Engine* engine,
          engine::WatchHub* hub);

  // --- inputs
  void Tick(int64_t now_ns);  // one heartbeat interval has passed
  void Propose(Proposal proposal);
  void ReadState(Read read);
  void Receive(consensus::Message message);
  void Durable(LogIndex index, Term term, int64_t now_ns);
  void Flushed(uint64_t sequence);
  void CatchUpDone(std::unique_ptr<engine::CatchUpJob> job);
  void HashDone(std::unique_ptr<engine::CompactionHash> done);
  void SealNow() { seal_now_ = true; }  // hand over all applied changes with the next Advance
  // Runs `task` after the next step that applied something or followed a tick: for an answer that
  // waits for a change of state, and gives up at some time.
  void RunLater(absl::AnyInvocable<void(Replica&)> task);
  // `completion` is answered when the deletions of a compaction up to `revision` are in the
  // backend and its hash is kept.
  void WaitPhysicallyCompacted(int64_t revision, Completion completion);
  // One slice of pending compaction with the next Advance.
  // It ends after `steps_max` steps, and after the option's.
  void CompactSlice(uint32_t steps_max = UINT32_MAX) { compact_steps_ = steps_max; }

  // --- peers; as consensus/raft.h says
  void LogRead(consensus::LogReadAnswer answer) { raft_->LogRead(std::move(answer)); }
  void LogCompacted(LogIndex through) { raft_->Compacted(through); }
  // How much of the log may go when the backend needs none of it up to `through`: as a leader, what
  // peers that can be reached still lack stays, within options.log_kept_for_peers_max entries.
  LogIndex LogNotNeeded(LogIndex through) const;
  void SnapshotReady(MemberId peer, consensus::SnapshotMeta meta) {
    raft_->SnapshotReady(peer, std::move(meta));
  }
  void ReportSnapshot(MemberId peer, consensus::SnapshotResult result) {
    raft_->ReportSnapshot(peer, result);
  }
  void ReportUnreachable(MemberId peer) { raft_->ReportUnreachable(peer); }
  // `engine` stands at meta.index and outlives the replica; the one before may go as soon as what
  // reads from it (jobs, cursors) has ended.
  void SnapshotInstalled(const consensus::SnapshotMeta& meta, engine::Engine* engine);
  void SnapshotAbandoned(const consensus::SnapshotMeta& meta);
  // Hands the lead to `to`; etcd's error when that cannot be begun. Whether it worked shows in
  // raft().leader().
  engine::Error TransferLeadership(MemberId to);
  // Since when messages reach and leave this peer; nullopt = they do not. For error texts and the
  // strict check of reconfigurations alone.
  void SetConnectedSince(MemberId peer, std::optional<int64_t> since_ns);

  // `observer` sees every entry as it is applied: the judge of a simulation.
  void ObserveApply(std::function<void(const Entry&)> observer) {
    apply_observer_ = std::move(observer);
  }

  Effects Advance(int64_t now_ns);

  struct ReadCounters {
    uint64_t asked_again = 0;  // rounds for a read index that nobody answered in time
    uint64_t failed = 0;       // reads
  };

  // --- looks
  const ReadCounters& read_counters() const { return read_counters_; }
  engine::Engine& engine() { return *engine_; }
  engine::WatchHub& hub() { return *hub_; }
  const consensus::Raft& raft() const { return *raft_; }
  size_t pending_proposals() const { return waiting_.size() + batch_.size() + forwarded_.size(); }
  // Since when no leader is known; INT64_MAX while there is one.
  int64_t leaderless_since_ns() const { return leaderless_since_ns_; }
  // How many of `members` were connected with this one at all times since then; itself counts.
  size_t ConnectedSince(const std::vector<MemberId>& members, int64_t since_ns) const;

 private:
  struct InFlight {  // ordered by this member
    LogIndex index;
    Term term;
    Waiter waiter;
  };
  struct ForwardedDeadline {
    RequestId id;
    int64_t deadline_ns;
  };
  struct DurableAt {
    LogIndex index;
    int64_t at_ns;
  };

  // --- replica.cc
  void CollectOutput(Effects* effects);
  void ApplyCommitted(int64_t now_ns, Effects* effects);
  void ApplyOne(const Entry& entry, int64_t now_ns, Effects* effects);
  void ApplyConfChange(const Entry& entry, const engine::Error& refused, Effects* effects);
  void TakeCatchUp(Effects* effects);
  void Compact(Effects* effects);
  void PublishEvents();
  void ResumeAfterInstall();
  void RevokeExpired(int64_t now_ns);
  void CheckpointLeases(int64_t now_ns);
  void CompactByItself(int64_t now_ns);
  void ProposeOwn(const etcdserverpb::InternalRaftRequest& request, int64_t now_ns,
                  absl::AnyInvocable<void(engine::Reply)> done);
  void SealAndFlush(int64_t now_ns, Effects* effects);
  void AnswerCompacted(Effects* effects);
  void FollowLeadership(int64_t now_ns);
  bool Replayed() const { return engine_->applied_index() >= replay_through_; }

  // --- replica_proposals.cc
  bool BatchIsDue(int64_t now_ns) const;
  // When a batch that is not due must leave.
  int64_t BatchDueNs() const;
  // This member leads others: what it orders, they have to sync as well.
  bool LeadsPeers() const;
  void TakeForwarded(consensus::Message message);
  void SubmitBatch(int64_t now_ns, Effects* effects);
  // Gives batch_[first, last) to raft; false = it has to wait.
  bool Submit(size_t first, size_t last, int64_t now_ns, Effects* effects);
  absl::Status GiveToRaft(size_t first, size_t last);
  void Track(Proposal proposal, LogIndex index, int64_t now_ns);
  void DropOutdated(Effects* effects);
  void FailOverwritten(LogIndex from, Effects* effects);
  Waiter TakeWaiter(const Entry& entry, Effects* effects);
  void ExpireProposals(int64_t now_ns, Effects* effects);
  engine::Error TimeoutError(const Waiter& waiter) const;

  // --- replica_reads.cc
  void AskReadIndex(int64_t now_ns);
  void TakeReadAnswers(const consensus::Output& output);
  void AskAgain(uint64_t context);
  void ServeReads();
  void ExpireReads(int64_t now_ns);

  const ReplicaOptions options_;
  consensus::Raft* const raft_;
  engine::Engine* engine_;
  engine::WatchHub* const hub_;
  // Entries known to be committed at start are applied before time passes for raft: until then its
  // configuration is one of the past.
  const LogIndex replay_through_;

  std::vector<Proposal> batch_;  // arrived here, not yet given to raft
  uint64_t batch_bytes_ = 0;
  int64_t batch_since_ns_ = 0;
  BatchPacer pacer_;
  std::deque<InFlight> waiting_;      // by index: proposed here as leader and not yet applied
  std::deque<Entry> committed_;       // committed and not yet applied
  std::deque<DurableAt> durable_at_;  // when which part became durable
  absl::flat_hash_map<RequestId, Waiter> forwarded_;  // looked up, never iterated
  std::deque<ForwardedDeadline> forwarded_deadlines_;

  // A snapshot takes the place of engine_ and its backend: nothing reads from them or flushes until
  // that is over.
  bool installing_ = false;
  std::vector<Read> reads_held_;
  std::vector<std::unique_ptr<engine::CatchUpJob>> landed_;

  ReadCounters read_counters_;
  std::vector<Read> reads_new_;  // wait for a read index
  uint64_t read_context_;
  struct ReadBatch {
    uint64_t context;
    int64_t asked_ns;
    std::optional<LogIndex> index;
    std::vector<Read> reads;
  };
  std::deque<ReadBatch> read_batches_;

  struct CompactionWait {
    int64_t revision;
    Completion completion;
  };
  std::vector<CompactionWait> compaction_waits_;
  std::vector<absl::AnyInvocable<void(Replica&)>> later_;
  std::vector<int64_t> hashing_;  // revisions of compactions whose hash is being made
  // Could not be run for want of a snapshot; they go back to the hub with the next tick.
  std::vector<std::unique_ptr<engine::CatchUpJob>> not_run_;
  std::vector<Completion> refused_;  // answers decided while taking inputs
  int64_t compact_revision_seen_ = -1;
  AutoCompactor auto_compactor_;
  int64_t last_seal_ns_ = 0;
  std::function<void(const Entry&)> apply_observer_;
  bool seal_now_ = false;
  uint32_t compact_steps_ = 0;  // of the slice that is wanted; 0 = none
  bool was_ready_ = false;      // as leader
  bool ticked_ = false;

  MemberId leader_;  // as last seen
  int64_t leader_since_ns_ = 0;
  int64_t leaderless_since_ns_ = 0;
  std::map<MemberId, int64_t> connected_since_ns_;
};

}  // namespace quorate::server
