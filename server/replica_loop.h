// ReplicaLoop: feeds the replica from one bounded queue and carries out its effects. Whatever
// reaches the replica passes here: proposals and reads of services, Durable of the log writer,
// Flushed of the backend writer, finished jobs of workers.
//
// One thread at a time steps the replica, and it need not be the replica's own: waking a thread
// costs more than a step of a few requests. So a network thread steps it at the end of its turn and
// the log writer after its sync, when nobody else does and little is waiting; what is left (ticks,
// compactions, large batches) wakes the replica's thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/stage_clock.h"
#include "base/turn.h"
#include "server/backend_writer.h"
#include "server/log_writer.h"
#include "server/peer_side.h"
#include "server/replica.h"
#include "server/worker_pool.h"
#include "transport/event_loop.h"

namespace quorate::server {

class ReplicaLoop final : public TurnListener {
 public:
  struct Options {
    size_t queue_max = 1 << 16;  // proposals and reads of clients; beyond: too many requests
    int64_t tick_ns = 100'000'000;
    int64_t compaction_slice_ns = 500'000;
    // While clients are there a compaction goes on in small slices with pauses between: what it
    // deletes uses the disk, the memory and the cores that clients use.
    uint32_t compaction_steps_beside_clients = 200;
    int64_t compaction_pause_beside_clients_ns = 1'300'000;
    // Inputs up to which another thread steps the replica rather than waking its own.
    size_t step_elsewhere_max = 64;
    // Answers and messages of a step up to which who steps also writes them to the sockets.
    size_t serve_here_max = 16;
    int64_t warning_apply_ns = 100'000'000;  // of one step of the replica
    int64_t warning_unary_ns = 300'000'000;  // of one write, from received to replied
  };
  // What happened, for metrics. Written by the loop, read by any thread.
  struct Counters {
    std::atomic<uint64_t> proposals_pending{0};
    std::atomic<uint64_t> committed{0}, applied{0};
    std::atomic<uint64_t> proposals_failed{0};
    std::atomic<uint64_t> slow_applies{0};
    std::atomic<uint64_t> leader_changes{0};
    std::atomic<uint64_t> leader{0}, term{0};
    std::atomic<bool> leads{false};  // and has committed an entry of its term
    std::atomic<bool> learner{false};
    std::atomic<bool> version_decided{false};
    std::atomic<bool> auth_enabled{false};
    std::atomic<int64_t> revision{0}, compact_revision{-1};
    std::atomic<uint64_t> window_bytes{0};
  };

  // What the loop works with; all outlive it.
  struct Parts {
    Replica* replica = nullptr;
    const log::LogStore* log = nullptr;  // for peers that need older entries
    LogWriter* log_writer = nullptr;
    BackendWriter* backend_writer = nullptr;
    WorkerPool* workers = nullptr;
    PeerSide* peers = nullptr;
    const Clock* clock = nullptr;
  };
  ReplicaLoop(const Options& options, const Parts& parts);
  ~ReplicaLoop() override;

  void Start();
  // Takes no more inputs, finishes what is there, stops the thread.
  void Stop();

  // --- any thread
  // False when the queue is full or the server is stopping; the argument is then untouched.
  bool Propose(Proposal&& proposal);
  bool ReadState(Read&& read);
  // Internal inputs are never refused for size: each answers something the replica asked for.
  void Durable(LogIndex index, Term term);
  void Flushed(uint64_t sequence);
  // Of one peer, in order. A flood of them is bounded by what the links hold.
  void Receive(std::vector<consensus::Message> messages);
  void Run(absl::AnyInvocable<void(Replica&)> task);

  // Of the thread whose turn put inputs in.
  void OnTurnEnd() override { StepOrWake(); }

  // For one thread that drives everything (then without Start).
  // One round: take inputs, advance, carry out effects. False = there was nothing to do.
  bool Poll();
  // When Poll has work again even if nothing comes in (of the clock; past = at once). Loop thread.
  int64_t NextDueNs() const {
    if (more_) return 0;
    return std::min({next_tick_ns_, wake_at_ns_, compaction_ ? compact_at_ns_ : INT64_MAX});
  }

  StageHistograms& stages() { return stages_; }
  const Counters& counters() const { return counters_; }

 private:
  struct DurableInput {
    LogIndex index;
    Term term;
  };
  struct FlushedInput {
    uint64_t sequence;
  };
  using Task = absl::AnyInvocable<void(Replica&)>;
  using Messages = std::vector<consensus::Message>;
  using Input = std::variant<Proposal, Read, DurableInput, FlushedInput, Messages, Task>;

  // Whose round it is: only the own thread spends a slice of time on a compaction.
  enum class Stepper { kOwnThread, kOther };

  void Main();
  void Round(Stepper stepper, transport::WakeScope* wakes);
  void OnQueueFilled();
  void StepOrWake();
  void Wake();
  void WaitForWork(int64_t deadline_ns);
  void TakeInputs(int64_t now_ns);
  void TakeInput(Input& input, int64_t now_ns);
  void CarryOut(Effects effects);
  void CarryOutForPeers(Effects* effects);
  void ReadLog(consensus::LogReadRequest request);
  void RunJobs(Effects* effects);
  void Complete(std::vector<Completion> completions);
  void CompactAtPace();
  void UpdateCounters();
  void LogElections();
  void LogCompaction();
  void WarnIfSlow(int64_t took_ns, uint32_t applied);
  void WarnIfSlow(const StageStamps& stamps, int64_t now_ns) const;

  const Options options_;
  Replica* const replica_;
  const log::LogStore* const log_;
  LogWriter* const log_writer_;
  BackendWriter* const backend_writer_;
  WorkerPool* const workers_;
  PeerSide* const peers_;
  const Clock* const clock_;
  BoundedQueue<Input> queue_;

  // Held by whoever steps the replica; guards what follows it.
  std::mutex step_mutex_;
  std::vector<Input> inputs_;
  int64_t next_tick_ns_ = 0;
  int64_t wake_at_ns_ = 0;
  bool more_ = false;
  bool compaction_ = false;
  int64_t compact_at_ns_ = 0;   // when the next slice may begin
  int64_t client_seen_ns_ = 0;  // when the newest proposal or read came
  struct Seen {                 // of raft, when it was last logged
    consensus::Role role = consensus::Role::kFollower;
    Term term;
    MemberId leader;
  };
  Seen seen_;
  int64_t compaction_told_ = -1;  // as done

  // How others wake the replica's thread. Always after what it is woken for was put down.
  std::mutex wake_mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
  bool threaded_ = false;  // constant after Start

  StageHistograms stages_;
  Counters counters_;
  std::thread thread_;
};

}  // namespace quorate::server
