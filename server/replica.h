// The replica: joins consensus and engine into one deterministic state machine (design.md §2.1).
// Inputs come in by the methods; Advance(now) does the work they allow and answers with Effects,
// which the owner carries out: append to the log, flush to the backend, run jobs, answer clients.
// No threads, clock, disk, network or randomness of its own.
//
// Four indexes that are never mixed up: ordered (raft's last index), durable (synced log), applied
// (engine), flushed (backend).
// One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "base/stage_clock.h"
#include "consensus/raft.h"
#include "engine/engine.h"
#include "engine/watch/hub.h"

namespace quorate::server {

// Somebody who waits for the answer to a proposal. The owner of the replica calls `done` while it
// carries out Effects, never inside Advance.
struct Waiter {
  absl::AnyInvocable<void(engine::Reply)> done;  // empty: nobody waits
  StageStamps stamps;
  int64_t deadline_ns = INT64_MAX;
};

struct Proposal {
  Bytes payload;  // etcdserverpb.InternalRaftRequest
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

// What the owner has to do. `append` and `hard_state` belong together.
struct Effects {
  std::vector<Entry> append;
  std::optional<HardState> hard_state;
  std::vector<Completion> completions;
  std::vector<std::shared_ptr<const engine::FlushChunk>> chunks;
  std::vector<CatchUpWork> catch_up;
  // To be run by a worker and handed back by HashDone.
  std::vector<std::unique_ptr<engine::CompactionHash>> compaction_hashes;
  uint32_t applied = 0;  // entries applied in this step
  // There is work that needs no further input: call Advance again soon.
  bool more = false;
  // When the batch that is being filled must leave, if nothing else happens; INT64_MAX = none.
  int64_t wake_at_ns = INT64_MAX;
};

struct ReplicaOptions {
  uint32_t batch_entries_max = 1024;
  uint64_t batch_bytes_max = 4 << 20;
  int64_t batch_linger_ns = 0;
  int64_t seal_interval_ns = 1'000'000'000;
  int64_t election_timeout_ns = 1'000'000'000;  // what leases get on top from a new leader
  uint32_t compaction_steps = 1000;
  uint32_t apply_backlog_max = 5000;  // committed and not applied: more proposals are refused
};

class Replica {
 public:
  // All outlive the replica.
  Replica(const ReplicaOptions& options, consensus::Raft* raft, engine::Engine* engine,
          engine::WatchHub* hub);

  // --- inputs
  void Tick(int64_t now_ns);  // one heartbeat interval has passed
  void Propose(Proposal proposal);
  void ReadState(Read read);
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
  void CompactSlice() { compact_slice_ = true; }

  // `observer` sees every entry as it is applied: the judge of a simulation.
  void ObserveApply(std::function<void(const Entry&)> observer) {
    apply_observer_ = std::move(observer);
  }

  Effects Advance(int64_t now_ns);

  // --- looks
  engine::Engine& engine() { return *engine_; }
  engine::WatchHub& hub() { return *hub_; }
  const consensus::Raft& raft() const { return *raft_; }
  size_t pending_proposals() const { return waiting_.size() + batch_.size(); }

 private:
  struct InFlight {
    LogIndex index;
    Term term;
    Waiter waiter;
  };
  struct DurableAt {
    LogIndex index;
    int64_t at_ns;
  };

  bool BatchIsDue(int64_t now_ns) const;
  void SubmitBatch(int64_t now_ns, Effects* effects);
  void CollectOutput(Effects* effects);
  void ApplyCommitted(int64_t now_ns, Effects* effects);
  void ApplyOne(const Entry& entry, int64_t now_ns, Effects* effects);
  void ApplyConfChange(const Entry& entry);
  void AskReadIndex();
  void TakeCatchUp(Effects* effects);
  void Compact(Effects* effects);
  void ServeReads();
  void PublishEvents();
  void RevokeExpired(int64_t now_ns);
  void SealAndFlush(int64_t now_ns, Effects* effects);
  void AnswerCompacted(Effects* effects);
  void ExpireOverdue(int64_t now_ns, Effects* effects);
  void FollowLeadership(int64_t now_ns);

  const ReplicaOptions options_;
  consensus::Raft* const raft_;
  engine::Engine* const engine_;
  engine::WatchHub* const hub_;

  std::vector<Proposal> batch_;  // ordered here, not yet given to raft
  uint64_t batch_bytes_ = 0;
  int64_t batch_since_ns_ = 0;
  std::deque<InFlight> waiting_;      // ordered by index: proposed and not yet applied
  std::deque<Entry> committed_;       // committed and not yet applied
  std::deque<DurableAt> durable_at_;  // when which part became durable

  std::vector<Read> reads_new_;  // wait for a read index
  uint64_t read_context_ = 0;
  struct ReadBatch {
    uint64_t context;
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
  int64_t last_seal_ns_ = 0;
  std::function<void(const Entry&)> apply_observer_;
  bool seal_now_ = false;
  bool compact_slice_ = false;
  bool was_leader_ = false;
  bool ticked_ = false;
};

}  // namespace quorate::server
