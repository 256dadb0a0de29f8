#include "server/replica_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/options.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "base/thread_turns.h"
#include "engine/auth/auth_store.h"

namespace quorate::server {
namespace {

// So long after its last request nobody is there who could notice a compaction.
constexpr int64_t kClientsGoneNs = 20'000'000;

}  // namespace

ReplicaLoop::ReplicaLoop(const Options& options, const Parts& parts)
    : options_(options),
      replica_(parts.replica),
      log_(parts.log),
      log_writer_(parts.log_writer),
      backend_writer_(parts.backend_writer),
      workers_(parts.workers),
      peers_(parts.peers),
      clock_(parts.clock),
      queue_(options.queue_max, [this] { OnQueueFilled(); }) {}

ReplicaLoop::~ReplicaLoop() { Stop(); }

void ReplicaLoop::Start() {
  next_tick_ns_ = clock_->MonotonicNs();
  threaded_ = true;
  thread_ = std::thread([this] {
    SetThreadName("replica");
    AskForShortTurns();
    Main();
  });
}

void ReplicaLoop::Stop() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

bool ReplicaLoop::Propose(Proposal&& proposal) {
  Input input(std::move(proposal));
  if (queue_.TryPush(std::move(input))) return true;
  proposal = std::move(std::get<Proposal>(input));
  return false;
}

bool ReplicaLoop::ReadState(Read&& read) {
  Input input(std::move(read));
  if (queue_.TryPush(std::move(input))) return true;
  read = std::move(std::get<Read>(input));
  return false;
}

void ReplicaLoop::Durable(LogIndex index, Term term) {
  // For a few requests the step takes no longer than waking another thread would. Many are left to
  // the replica's thread, so that the next sync begins at once.
  const bool step_here = threaded_ && counters_.proposals_pending.load(std::memory_order_relaxed) <=
                                          options_.step_elsewhere_max;
  const Turn turn;
  queue_.PushUnbounded(DurableInput{index, term});
  if (step_here) {
    Turn::AtEnd(this);
  } else {
    Wake();
  }
}

void ReplicaLoop::Receive(std::vector<consensus::Message> messages) {
  queue_.PushUnbounded(Input(std::move(messages)));
}

void ReplicaLoop::Flushed(uint64_t sequence) { queue_.PushUnbounded(FlushedInput{sequence}); }

void ReplicaLoop::Run(Task task) { queue_.PushUnbounded(std::move(task)); }

void ReplicaLoop::Main() {
  for (;;) {
    int64_t due_ns;
    {
      transport::WakeScope wakes;  // ends after the lock
      std::lock_guard lock(step_mutex_);
      if (queue_.closed() && queue_.size() == 0) return;
      Round(Stepper::kOwnThread, &wakes);
      due_ns = NextDueNs();
    }
    if (due_ns != 0) WaitForWork(due_ns);
  }
}

// Expects step_mutex_ to be held.
void ReplicaLoop::Round(Stepper stepper, transport::WakeScope* wakes) {
  queue_.Take(&inputs_);
  const int64_t now_ns = clock_->MonotonicNs();
  TakeInputs(now_ns);
  Effects effects = replica_->Advance(now_ns);
  WarnIfSlow(clock_->MonotonicNs() - now_ns, effects.applied);
  if (effects.completions.size() + effects.messages.size() <= options_.serve_here_max) {
    wakes->ServeLoops();
  }
  CarryOut(std::move(effects));
  if (compaction_ && stepper == Stepper::kOwnThread && now_ns >= compact_at_ns_) CompactAtPace();
}

void ReplicaLoop::OnQueueFilled() {
  if (!threaded_) return;
  // In a turn of a network thread more may follow; all of it is looked at when the turn ends.
  if (queue_.closed() || !Turn::AtEnd(this)) Wake();
}

void ReplicaLoop::StepOrWake() {
  for (;;) {
    const size_t waiting = queue_.size();
    if (waiting == 0) return;
    if (waiting > options_.step_elsewhere_max) return Wake();
    bool wake;
    {
      transport::WakeScope wakes;  // ends after the lock
      std::unique_lock lock(step_mutex_, std::try_to_lock);
      // Who holds it looks at the queue once more after letting go.
      if (!lock.owns_lock()) return;
      const int64_t due_before_ns = NextDueNs();
      Round(Stepper::kOther, &wakes);
      wake = NextDueNs() < due_before_ns;
    }
    if (wake) Wake();
  }
}

void ReplicaLoop::Wake() {
  {
    std::lock_guard lock(wake_mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

void ReplicaLoop::WaitForWork(int64_t deadline_ns) {
  const std::chrono::steady_clock::time_point deadline{std::chrono::nanoseconds(deadline_ns)};
  std::unique_lock lock(wake_mutex_);
  wake_.wait_until(lock, deadline, [this] { return woken_ || queue_.size() > 0; });
  woken_ = false;
}

bool ReplicaLoop::Poll() {
  const bool any = queue_.Take(&inputs_);
  const int64_t now_ns = clock_->MonotonicNs();
  if (!any && now_ns < NextDueNs()) return false;
  TakeInputs(now_ns);
  replica_->CompactSlice();
  CarryOut(replica_->Advance(now_ns));
  return true;
}

void ReplicaLoop::TakeInputs(int64_t now_ns) {
  if (now_ns >= next_tick_ns_) {
    replica_->Tick(now_ns);
    peers_->Ticked(*replica_);
    next_tick_ns_ += options_.tick_ns;
    // After a long pause ticks are not made up for: time did not pass for the raft either.
    if (next_tick_ns_ <= now_ns) next_tick_ns_ = now_ns + options_.tick_ns;
  }
  for (Input& input : inputs_) TakeInput(input, now_ns);
  inputs_.clear();
}

void ReplicaLoop::TakeInput(Input& input, int64_t now_ns) {
  if (auto* proposal = std::get_if<Proposal>(&input)) {
    client_seen_ns_ = now_ns;
    replica_->Propose(std::move(*proposal));
  } else if (auto* read = std::get_if<Read>(&input)) {
    client_seen_ns_ = now_ns;
    replica_->ReadState(std::move(*read));
  } else if (const auto* durable = std::get_if<DurableInput>(&input)) {
    replica_->Durable(durable->index, durable->term, now_ns);
  } else if (const auto* flushed = std::get_if<FlushedInput>(&input)) {
    replica_->Flushed(flushed->sequence);
  } else if (auto* messages = std::get_if<Messages>(&input)) {
    for (consensus::Message& message : *messages) replica_->Receive(std::move(message));
  } else {
    std::get<Task>(input)(*replica_);
  }
}

void ReplicaLoop::CarryOut(Effects effects) {
  more_ = effects.more;
  compaction_ = effects.compaction;
  wake_at_ns_ = effects.wake_at_ns;
  // To peers first: they and the own disk work at the same time.
  if (!effects.messages.empty()) peers_->Send(std::move(effects.messages));
  if (!effects.append.empty() || effects.hard_state || !effects.messages_after_durable.empty()) {
    log_writer_->Submit({std::move(effects.append), effects.hard_state, LogIndex(0),
                         std::move(effects.messages_after_durable), std::nullopt});
  }
  for (auto& chunk : effects.chunks) backend_writer_->Submit(std::move(chunk));
  RunJobs(&effects);
  CarryOutForPeers(&effects);
  UpdateCounters();
  if (!effects.completions.empty()) Complete(std::move(effects.completions));
}

void ReplicaLoop::RunJobs(Effects* effects) {
  for (CatchUpWork& work : effects->catch_up) {
    workers_->Submit(
        [this, job = std::move(work.job), history = std::move(work.history)]() mutable {
          job->Run(*history);
          history.reset();
          Run([job = std::move(job)](Replica& replica) mutable {
            replica.CatchUpDone(std::move(job));
          });
        });
  }
  for (std::unique_ptr<engine::CompactionHash>& hash : effects->compaction_hashes) {
    workers_->Submit([this, hash = std::move(hash)]() mutable {
      hash->Run();
      Run([hash = std::move(hash)](Replica& replica) mutable {
        replica.HashDone(std::move(hash));
      });
    });
  }
}

void ReplicaLoop::CarryOutForPeers(Effects* effects) {
  for (consensus::LogReadRequest& request : effects->log_reads) ReadLog(request);
  for (const MemberId peer : effects->snapshots_wanted) peers_->PrepareSnapshot(peer);
  if (effects->install) peers_->Install(*std::move(effects->install));
  if (effects->members_changed) peers_->MembersChanged(*replica_);
  if (effects->removed) peers_->Removed();
}

void ReplicaLoop::ReadLog(consensus::LogReadRequest request) {
  workers_->Submit([this, request] {
    consensus::LogReadAnswer answer;
    answer.id = request.id;
    uint64_t bytes = 0;
    const absl::Status read = log_->Read(request.first, request.last, [&](const Entry& entry) {
      bytes += entry.data.size();
      if (!answer.entries.empty() && bytes > request.bytes_max) return false;
      answer.entries.push_back(entry);
      return true;
    });
    // Asked last: what was dropped meanwhile was dropped before this.
    answer.term_before = log_->TermAt(request.first.Prev());
    if (!read.ok()) answer.term_before = std::nullopt;
    Run([answer = std::move(answer)](Replica& replica) mutable {
      replica.LogRead(std::move(answer));
    });
  });
}

void ReplicaLoop::Complete(std::vector<Completion> completions) {
  const int64_t now_ns = clock_->MonotonicNs();
  for (Completion& completion : completions) {
    if (!completion.waiter.done) continue;
    if (!completion.reply.error.ok()) counters_.proposals_failed.fetch_add(1);
    completion.waiter.stamps.Stamp(Stage::kReplied, now_ns);
    stages_.Record(completion.waiter.stamps);
    WarnIfSlow(completion.waiter.stamps, now_ns);
    completion.waiter.done(std::move(completion.reply));
  }
}

void ReplicaLoop::WarnIfSlow(int64_t took_ns, uint32_t applied) {
  if (took_ns <= options_.warning_apply_ns) return;
  counters_.slow_applies.fetch_add(1, std::memory_order_relaxed);
  LogWarn("apply request took too long",
          {{"took", FormatGoDuration(took_ns)},
           {"expected-duration", FormatGoDuration(options_.warning_apply_ns)},
           {"entries", static_cast<uint64_t>(applied)}});
}

void ReplicaLoop::WarnIfSlow(const StageStamps& stamps, int64_t now_ns) const {
  const int64_t received_ns = stamps.at_ns[static_cast<size_t>(Stage::kReceived)];
  if (received_ns == 0 || now_ns - received_ns <= options_.warning_unary_ns) return;
  LogWarn("request stats", {{"time spent", FormatGoDuration(now_ns - received_ns)}});
}

void ReplicaLoop::CompactAtPace() {
  const int64_t begin_ns = clock_->MonotonicNs();
  const bool clients = begin_ns - client_seen_ns_ < kClientsGoneNs;
  int64_t now_ns = begin_ns;
  do {
    replica_->CompactSlice(clients ? options_.compaction_steps_beside_clients : UINT32_MAX);
    CarryOut(replica_->Advance(now_ns));
    now_ns = clock_->MonotonicNs();
  } while (compaction_ && !clients && now_ns - begin_ns < options_.compaction_slice_ns &&
           queue_.size() == 0);
  compact_at_ns_ = clients ? now_ns + options_.compaction_pause_beside_clients_ns : 0;
}

// As etcd's raft says it (wire facts, lifecycle §1).
void ReplicaLoop::LogElections() {
  const consensus::Raft& raft = replica_->raft();
  const bool same = raft.role() == seen_.role && raft.term() == seen_.term;
  if (same && raft.leader() == seen_.leader) return;
  const std::string self = HexText(replica_->engine().header().member.value());
  const std::string at = StrCat(" at term ", raft.term().value());
  const auto say = [](const std::string& text) { Log(LogLevel::kInfo, text, {}, "raft"); };
  if (!same) {
    const char* const role = raft.role() == consensus::Role::kLeader         ? "leader"
                             : raft.role() == consensus::Role::kCandidate    ? "candidate"
                             : raft.role() == consensus::Role::kPreCandidate ? "pre-candidate"
                                                                             : "follower";
    say(StrCat(self, " became ", role, at));
  }
  if (raft.leader() != seen_.leader) {
    const std::string before = HexText(seen_.leader.value());
    const std::string now = HexText(raft.leader().value());
    if (raft.leader() == MemberId(0)) {
      say(StrCat("raft.node: ", self, " lost leader ", before, at));
    } else if (seen_.leader == MemberId(0)) {
      say(StrCat("raft.node: ", self, " elected leader ", now, at));
    } else {
      say(StrCat("raft.node: ", self, " changed leader from ", before, " to ", now, at));
    }
  }
  seen_.role = raft.role();
  seen_.term = raft.term();
  seen_.leader = raft.leader();
}

void ReplicaLoop::LogCompaction() {
  const int64_t done = replica_->engine().PhysicallyCompacted();
  if (done <= compaction_told_) return;
  compaction_told_ = done;
  LogInfo("finished scheduled compaction", {{"compact-revision", done}});
}

void ReplicaLoop::UpdateCounters() {
  LogElections();
  LogCompaction();
  const auto store = [](auto& counter, auto value) {
    counter.store(value, std::memory_order_relaxed);
  };
  const consensus::Raft& raft = replica_->raft();
  if (counters_.leader.load(std::memory_order_relaxed) != raft.leader().value() &&
      raft.leader().value() != 0) {
    counters_.leader_changes.fetch_add(1, std::memory_order_relaxed);
  }
  store(counters_.leads, raft.leader_ready());
  store(counters_.learner, raft.conf_state().IsLearner(replica_->engine().header().member));
  store(counters_.auth_enabled, replica_->engine().auth().enabled());
  store(counters_.version_decided, !replica_->engine().cluster_version().empty());
  store(counters_.leader, raft.leader().value());
  store(counters_.term, raft.term().value());
  store(counters_.proposals_pending, replica_->pending_proposals());
  store(counters_.committed, raft.commit().value());
  store(counters_.applied, replica_->engine().applied_index().value());
  store(counters_.revision, replica_->engine().current_revision());
  store(counters_.compact_revision, replica_->engine().compact_revision());
  store(counters_.window_bytes, replica_->engine().WindowBytes());
}

}  // namespace quorate::server
