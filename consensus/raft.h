// Raft as a value: inputs in, one Output struct out. No threads, clock, disk, network or randomness
// of its own (design.md §2.1).
//
// Who orders what. The owner calls inputs in any order, then takes the Output and carries it out;
// it may overlap appending to disk with sending to peers, and says what became durable by
// Durable(). It applies `committed` entries in order; a configuration entry goes through
// DecodeConfChange and ApplyConfChange when its turn comes, then Applied() tells how far it is.
// Nothing here waits: a read of the log store, a snapshot to be made, sent or installed are asked
// for in an Output and answered by an input, as late as the owner likes.
//
// Sources: Ongaro's thesis (§3 basics, §3.10 leader transfer, §4 membership, §5 snapshots, §6.4
// ReadIndex, §9.6 pre-vote, §10.2.1 appending in parallel); messages as etcd/raft's raftpb.
// Not thread-safe: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "base/random.h"
#include "consensus/conf_change.h"
#include "consensus/message.h"

namespace quorate::consensus {

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

struct Config {
  MemberId self;
  // In ticks; an election timeout is drawn from [election_ticks, 2 * election_ticks - 1].
  uint32_t election_ticks = 10;
  uint32_t heartbeat_ticks = 1;
  bool pre_vote = true;
  bool check_quorum = true;
  // etcd's --initial-election-tick-advance: a member that is alone elects itself at the first tick.
  bool initial_election_tick_advance = true;
  uint64_t append_bytes_max = 1 << 20;             // entries per append message, but at least one
  uint32_t appends_in_flight_max = 512;            // per peer
  uint64_t append_bytes_in_flight_max = 64 << 20;  // per peer; one append more may start below it
  uint64_t uncommitted_bytes_max = 1 << 30;  // proposals beyond are refused (kResourceExhausted)
  // Applied entries kept in memory for peers that lag; older ones are read from the log store.
  uint64_t tail_bytes_max = 16 << 20;
  // A leader whose log store makes no progress for so many ticks while something waits for it gives
  // the lead away; a member in that state does not try to lead. 0 = election_ticks.
  uint32_t disk_stall_ticks = 0;
};

// What was on disk at start.
struct InitialState {
  HardState hard_state;
  ConfState conf_state;  // after applying `applied`
  // By the engine, from the backend: a checkpoint of its own or an installed snapshot.
  LogIndex applied;
  std::vector<Entry> entries;  // of the log, after `applied`, without a gap
  Term term_before_entries;    // of the entry at `applied` (of the snapshot); 0 at the start
  LogIndex last_index;         // of the log; `applied` when there are no entries
};

struct ReadReady {
  uint64_t context = 0;  // as given to ReadIndex
  LogIndex index;        // serve when applied >= index
};

// A peer needs entries that are no longer in memory: the owner reads [first, last] from the log
// store, at most bytes_max (but at least one entry), and answers by LogRead. One at a time per
// peer; the answer may come late or out of order.
struct LogReadRequest {
  uint64_t id = 0;
  MemberId peer;
  LogIndex first;
  LogIndex last;
  uint64_t bytes_max = 0;
};

struct LogReadAnswer {
  uint64_t id = 0;  // of the request
  // Term of the entry at first - 1. nullopt = the log store has dropped these entries; the peer
  // will get a snapshot.
  std::optional<Term> term_before;
  std::vector<Entry> entries;  // from `first` on, without a gap; may end before `last`
};

struct InstallRequest {
  MemberId from;  // the leader that sent it
  SnapshotMeta meta;
};

// Everything the caller has to do after a round of inputs.
//  - `append` and `hard_state` go to the log in one batch, in the order of Outputs. An entry
//    replaces the one at its index and all after that.
//  - `messages` may leave at once; `messages_after_durable` only when the append and hard state of
//    this Output (and so of all before) are durable. Order per peer is worth keeping, and costs
//    time but not safety where it is not.
//  - `committed` are applied in order; they are durable here.
//  - `install` follows the `committed` of this and earlier Outputs (apply them or drop them). None
//    are given out until it is answered.
struct Output {
  std::optional<HardState> hard_state;
  std::vector<Entry> append;
  std::vector<Message> messages;
  std::vector<Message> messages_after_durable;
  std::vector<Entry> committed;  // to apply, in order, each exactly once
  std::vector<ReadReady> reads;
  std::vector<uint64_t> reads_dropped;  // contexts that must be asked again (leader lost or silent)
  std::vector<LogReadRequest> log_reads;
  // Peers that can only go on from a snapshot. Answer each with SnapshotReady when one can be sent,
  // or with ReportSnapshot(kFailed); it is asked again later as long as it is needed.
  std::vector<MemberId> snapshots_wanted;
  // Make this snapshot, whose bytes came beside the message, the member's state: replace the
  // engine's, let the log begin behind meta.index, all durable; then SnapshotInstalled. When that
  // cannot be done and nothing was changed, SnapshotAbandoned.
  std::optional<InstallRequest> install;
};

enum class SnapshotResult : uint8_t { kDelivered, kFailed };

// How a leader sends to a peer (etcd/raft's tracker states).
enum class ReplicationState : uint8_t {
  kProbe,      // where the logs agree is not known: one append at a time
  kReplicate,  // pipelined
  kSnapshot,   // needs one; no appends
};

struct PeerStatus {
  MemberId id;
  bool learner = false;
  ReplicationState state = ReplicationState::kProbe;
  LogIndex match;             // known to be durable there
  LogIndex next;              // the next entry to send
  bool active = false;        // heard from lately
  LogIndex pending_snapshot;  // kSnapshot: index of the one on its way; 0 = wanted
  uint32_t appends_in_flight = 0;
  uint64_t bytes_in_flight = 0;
};

struct Status {
  MemberId self;
  Role role = Role::kFollower;
  Term term;
  MemberId vote;
  MemberId leader;      // 0 = none known
  MemberId transferee;  // who is to lead next; 0 = no transfer under way
  LogIndex last;
  LogIndex durable;
  LogIndex commit;
  LogIndex applied;
  ConfState conf_state;
  bool disk_stalled = false;
  std::vector<PeerStatus> peers;  // a leader's, by id; without itself
};

class Raft {
 public:
  // `random` outlives the object. CHECKs that the state is consistent.
  Raft(const Config& config, InitialState initial, Random* random);
  ~Raft();

  // --- time and messages
  void Tick();  // one heartbeat interval has passed
  // Any message of any peer, however late, repeated or out of order; from one that is no member as
  // well. What it cannot use it ignores.
  void Receive(Message message);

  // --- proposals
  // On the leader: accepts payloads as entries, in order, all or none. On a follower that knows its
  // leader: sends them there, which may lose them; so indexes are known only where role() is
  // kLeader. kUnavailable without a leader or while the lead is being handed over,
  // kResourceExhausted over uncommitted_bytes_max.
  absl::Status Propose(std::vector<Bytes> payloads);
  // As Propose. The leader refuses with kFailedPrecondition while an earlier change is not applied,
  // and with ChangeConf's error what could not be applied; a forwarded change that it refuses is
  // dropped.
  absl::Status ProposeConfChange(const ConfChange& change);

  // --- what the owner did
  // The log has synced everything up to `index`, whose entry there has `term`.
  void Durable(LogIndex index, Term term);
  // The engine applied everything up to `index`.
  void Applied(LogIndex index);
  // A committed configuration entry is being applied: the new state takes effect and is returned.
  // Where ChangeConf refuses, nothing changes.
  absl::StatusOr<ConfState> ApplyConfChange(const ConfChange& change);
  // The log store dropped entries <= index; peers that need them get a snapshot.
  void Compacted(LogIndex index);
  void LogRead(LogReadAnswer answer);

  // --- snapshots
  // A snapshot can be sent to `peer`: a kSnapshot message will say so, which the owner sends with
  // the bytes. Ignored when the peer needs none any more. meta.index <= applied.
  void SnapshotReady(MemberId peer, SnapshotMeta meta);
  // How the sending ended. After kFailed a new one is wanted once the peer is heard of again.
  void ReportSnapshot(MemberId peer, SnapshotResult result);
  void SnapshotInstalled(const SnapshotMeta& meta);
  void SnapshotAbandoned(const SnapshotMeta& meta);

  // --- peers and the lead
  // A message to `peer` was lost: its appends start over with a probe.
  void ReportUnreachable(MemberId peer);
  // On the leader: `to` gets the rest of the log and is told to campaign; proposals are refused
  // meanwhile; given up after an election timeout. On a follower: asks the leader. kUnavailable
  // without a leader, kInvalidArgument when `to` has no vote.
  absl::Status TransferLeadership(MemberId to);

  // --- reads
  // Asks for a read index; answered through Output::reads, or reads_dropped when that is not to be
  // had (any more). Contexts of one member are distinct and not 0. All reads asked between two
  // Outputs share one round of heartbeats. A follower asks its leader.
  void ReadIndex(uint64_t context);

  // --- output since the last call
  Output TakeOutput();
  bool HasOutput() const;

  // --- looks
  Role role() const;
  MemberId leader() const;  // 0 = none known
  Term term() const;
  LogIndex commit() const;
  LogIndex last_index() const;
  const ConfState& conf_state() const;
  // True once this leader committed an entry of its own term, so that reads can be served.
  bool leader_ready() const;
  Status status() const;

 private:
  friend class RaftInvariants;
  std::unique_ptr<class RaftCore> core_;
};

}  // namespace quorate::consensus
