// For tests: a member with its disk and its state machine, on a thread of nobody's. Everything that
// an Output asks for waits until the test lets it happen: syncs, applying, reads of the log store,
// snapshots. A crash loses what was not synced, and of the state machine what was not flushed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "consensus/raft.h"

namespace quorate::consensus {

// What applying entries leads to: enough to tell two histories apart.
struct TestState {
  LogIndex index;
  Term term;
  ConfState conf;
  uint64_t digest = 0;
};

// The bytes of the snapshots that were made, by index: equal on all members.
using TestSnapshots = std::map<LogIndex, TestState>;

class TestMember {
 public:
  // As etcd starts a group: the log begins with a committed change of term 1 for each member of
  // `founders`. Without any, the member knows nothing and waits to be told.
  TestMember(const Config& config, const ConfState& founders, Random* random,
             TestSnapshots* snapshots);

  Raft& raft() { return *raft_; }
  const Raft& raft() const { return *raft_; }
  MemberId id() const { return config_.self; }
  bool running() const { return raft_ != nullptr; }

  // Takes the output. What may leave at once goes to *out, the rest waits for the steps below.
  void Collect(std::vector<Message>* out);
  // The disk catches up with all that was given to it.
  void Sync(std::vector<Message>* out);
  // Applies up to `entries_max` of what is committed.
  void Apply(size_t entries_max);
  void AnswerLogReads();
  void AnswerSnapshotsWanted();
  enum class Install { kDone, kAbandoned };
  void AnswerInstall(Install how);

  bool HasOutput() const { return raft_->HasOutput(); }
  bool HasUnsynced() const { return unsynced_; }
  bool HasToApply() const { return !committed_.empty(); }
  const std::deque<LogReadRequest>& log_reads() const { return log_reads_; }
  const std::deque<MemberId>& snapshots_wanted() const { return snapshots_wanted_; }
  const std::optional<InstallRequest>& install() const { return install_; }

  // The state machine's checkpoint: what a crash does not take.
  void Flush() { flushed_ = state_; }
  // Drops entries <= index of the log; they are flushed.
  enum class Tell { kRaft, kNobody };  // or the member finds out by asking
  void Compact(LogIndex index, Tell tell);
  void Crash();    // and stays down
  void Restart();  // from disk

  const TestState& state() const { return state_; }
  const std::vector<std::string>& applied() const { return applied_; }  // payloads, while it runs
  // Digest of each applied index since the start.
  const std::map<LogIndex, uint64_t>& digests() const { return digests_; }
  LogIndex log_first() const { return LogIndex(log_base_.index.value() + 1); }
  uint64_t entries_read() const { return entries_read_; }

  std::vector<ReadReady> reads;
  std::vector<uint64_t> reads_dropped;

 private:
  struct Place {
    LogIndex index;
    Term term;
  };
  void Append(std::vector<Entry> entries);
  void ApplyOne(const Entry& entry);
  void Found(const ConfState& founders);
  std::optional<Term> TermOnDisk(LogIndex index) const;
  LogIndex last_on_disk() const { return LogIndex(log_base_.index.value() + log_.size()); }

  const Config config_;
  Random* const random_;
  TestSnapshots* const snapshots_;
  std::unique_ptr<Raft> raft_;

  // disk
  Place log_base_;  // of what is before the log
  std::vector<Entry> log_;
  LogIndex durable_;
  HardState hard_state_, synced_hard_state_;
  TestState flushed_;
  bool unsynced_ = false;

  // memory
  TestState state_;
  std::vector<std::string> applied_;
  std::map<LogIndex, uint64_t> digests_;
  std::vector<Message> waiting_for_sync_;
  std::deque<Entry> committed_;
  std::deque<LogReadRequest> log_reads_;
  std::deque<MemberId> snapshots_wanted_;
  std::optional<InstallRequest> install_;
  uint64_t entries_read_ = 0;
};

}  // namespace quorate::consensus
