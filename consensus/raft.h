// Raft as a value: inputs in, one Output struct out. No threads, clock, disk, network or randomness
// of its own (design.md §2.1). The caller owns ordering: it may overlap appending to disk with
// sending to peers, and says what became durable by Durable().
//
// Sources: Ongaro's thesis (§3 basics, §4 membership, §6.4 ReadIndex, §9.6 pre-vote, §10.2.1
// appending in parallel); message fields as etcd/raft's raftpb.
// Not thread-safe: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "base/random.h"

namespace quorate::consensus {

struct ConfState {
  std::vector<MemberId> voters;
  std::vector<MemberId> learners;
  std::vector<MemberId> voters_outgoing;
  std::vector<MemberId> learners_next;
  bool auto_leave = false;
  bool operator==(const ConfState&) const = default;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

// raftpb.MessageType numbers of the messages that cross a network.
enum class MessageType : uint8_t {
  kAppend = 3,
  kAppendResponse = 4,
  kVote = 5,
  kVoteResponse = 6,
  kSnapshot = 7,
  kHeartbeat = 8,
  kHeartbeatResponse = 9,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResponse = 16,
  kPreVote = 17,
  kPreVoteResponse = 18,
};

// Field for field raftpb.Message; a field is meaningful for a type exactly where etcd/raft sets it.
struct Message {
  MessageType type = MessageType::kHeartbeat;
  MemberId to;
  MemberId from;
  Term term;
  Term log_term;
  LogIndex index;
  std::vector<Entry> entries;
  LogIndex commit;
  bool reject = false;
  LogIndex reject_hint;
  Bytes context;
};

struct Config {
  MemberId self;
  // In ticks; an election timeout is drawn from [election_ticks, 2 * election_ticks - 1].
  uint32_t election_ticks = 10;
  uint32_t heartbeat_ticks = 1;
  bool pre_vote = true;
  bool check_quorum = true;
  // etcd's --initial-election-tick-advance: a member that is alone elects itself at the first tick.
  bool initial_election_tick_advance = true;
  uint64_t append_bytes_max = 1 << 20;       // per append message
  uint32_t appends_in_flight_max = 512;      // per peer
  uint64_t uncommitted_bytes_max = 1 << 30;  // proposals beyond are refused (kResourceExhausted)
};

// What was on disk at start.
struct InitialState {
  HardState hard_state;
  ConfState conf_state;
  LogIndex applied;            // by the engine, from the backend
  std::vector<Entry> entries;  // of the log, after `applied`, without a gap
  Term term_before_entries;    // of the entry at `applied`; 0 at the start of the log
  LogIndex last_index;         // of the log; `applied` when there are no entries
};

struct ReadReady {
  uint64_t context = 0;  // as given to ReadIndex
  LogIndex index;        // serve when applied >= index
};

// Everything the caller has to do after a round of inputs. Order within: `append` and `hard_state`
// go to the log in one batch; `messages` may leave at once; `messages_after_durable` only when
// the append (and hard state) of this Output is durable.
struct Output {
  std::optional<HardState> hard_state;
  std::vector<Entry> append;
  std::vector<Message> messages;
  std::vector<Message> messages_after_durable;
  std::vector<Entry> committed;  // to apply, in order, each exactly once
  std::vector<ReadReady> reads;
  std::vector<uint64_t> reads_dropped;  // contexts that must be asked again (leader lost)
};

class Raft {
 public:
  // `random` outlives the object. CHECKs that the state is consistent.
  Raft(const Config& config, InitialState initial, Random* random);
  ~Raft();

  // --- inputs
  void Tick();  // one heartbeat interval has passed
  // Accepts payloads as entries, in order, all or none. kUnavailable when this member is not the
  // leader, kResourceExhausted over uncommitted_bytes_max.
  absl::Status Propose(std::vector<Bytes> payloads);
  void Receive(Message message);
  // The log has synced everything up to `index`, whose entry there has `term`.
  void Durable(LogIndex index, Term term);
  // Asks for a read index; answered through Output::reads, or reads_dropped when this member does
  // not lead (any more).
  void ReadIndex(uint64_t context);
  // The engine applied a configuration entry; the new state takes effect.
  void ApplyConfState(const ConfState& state);
  // Entries <= index will not be asked for by peers any more and may be forgotten once applied.
  void Compacted(LogIndex index);

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

 private:
  friend class RaftInvariants;
  std::unique_ptr<class RaftCore> core_;
};

}  // namespace quorate::consensus
