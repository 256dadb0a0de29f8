// Catch-up on the replica thread: which watches share the next job, and what becomes of them when
// it is back.
#include <algorithm>
#include <deque>

#include "base/check.h"
#include "engine/watch/hub_impl.h"

namespace quorate::engine {
namespace {

constexpr size_t kWatchersPerJob = 1024;
constexpr size_t kWatchersPerTurn = 64;  // a stream's quantum before the next one's turn
constexpr size_t kStreamsPerJob = 4096;  // looked at, whether they fit the stretch or not

}  // namespace

void WatchHub::Impl::AddToJob(Watcher* watcher, Flight* flight, HistoryJob* job) {
  LeaveWaiting(watcher);
  watcher->state = WatcherState::kCatching;
  watcher->flight = flight;
  watcher->flight_slot = static_cast<uint32_t>(flight->slots.size());
  const EventVariant variant =
      watcher->options.prev_kv ? EventVariant::kPrevKv : EventVariant::kPlain;
  flight->slots.push_back({watcher, job->AddTarget(watcher->target->begin, watcher->target->end,
                                                   watcher->next_revision, variant)});
}

// The watch whose turn it is decides the stretch; all others that wait for something inside it
// come along, a quantum per stream and round.
std::unique_ptr<HistoryJob> WatchHub::Impl::BuildJob() {
  std::unique_ptr<HistoryJob> job;
  auto flight = std::make_unique<Flight>();
  const WatchStream* first_without = nullptr;  // since then no stream had anything to add
  for (size_t visits = 0; visits < kStreamsPerJob && flight->slots.size() < kWatchersPerJob;
       ++visits) {
    if (ready.empty() || ready.front() == first_without) break;
    WatchStream* stream = ready.PopFront();
    stream->in_ready = false;
    if (stream->waiting.empty() || !sink->HasRoom(stream->id)) continue;
    size_t taken = 0;
    while (!stream->waiting.empty() && taken < kWatchersPerTurn) {
      Watcher* watcher = stream->waiting.front();
      const int64_t next = watcher->next_revision;
      if (job == nullptr) {
        const HistoryJob::Stretch stretch{
            .first_main = next,
            .last_main = std::min(published, next + options.catch_up_revisions_max - 1),
            .bytes_max = options.catch_up_bytes_max};
        flight->id = next_flight_id++;
        flight->last_main = stretch.last_main;
        flight->collects_tail = stretch.last_main == published;
        job = std::make_unique<HistoryJob>(flight->id, stretch);
      }
      if (next < job->first_main() || next > job->last_main()) break;
      AddToJob(watcher, flight.get(), job.get());
      ++taken;
    }
    MakeReady(stream);
    if (taken > 0) {
      first_without = nullptr;
    } else if (first_without == nullptr) {
      first_without = stream;
    }
  }
  if (job != nullptr) flights.push_back(std::move(flight));
  return job;
}

// A job that came back, with all that its watchers share.
struct WatchHub::Impl::Landing {
  const HistoryJob& job;
  std::unique_ptr<Flight> flight;
  int64_t reached = 0;  // watchers have everything up to here when they got theirs
  EventBlock with_previous;
  std::deque<BatchBlocks> tail_blocks;
  absl::Status with_previous_status;  // of the two above
};

void WatchHub::Impl::Finish(const HistoryJob& job) {
  const auto it = std::find_if(flights.begin(), flights.end(),
                               [&](const auto& flight) { return flight->id == job.flight_id(); });
  QR_CHECK(it != flights.end());
  Landing landing{.job = job, .flight = std::move(*it), .reached = job.through()};
  flights.erase(it);
  Flight& flight = *landing.flight;
  counters.pending_events -= flight.tail.size();
  heads.SetHeader(store->Header(), store->CurrentRevision());

  const bool whole = job.outcome() == HistoryJob::Outcome::kDone;
  if (whole && flight.collects_tail && job.through() == flight.last_main) {
    landing.reached = published;
  } else {
    flight.tail.clear();
  }
  PrepareLanding(&landing);
  size_t tail_begin = 0;
  for (uint32_t i = 0; i < flight.slots.size(); ++i) {
    size_t tail_end = tail_begin;
    while (tail_end < flight.tail.size() && flight.tail[tail_end].slot == i) ++tail_end;
    const absl::Span<const Flight::TailEvent> tail =
        absl::MakeSpan(flight.tail).subspan(tail_begin, tail_end - tail_begin);
    tail_begin = tail_end;
    Watcher* watcher = flight.slots[i].watcher;
    if (watcher == nullptr) continue;
    if (whole) {
      FinishWatcher(watcher, flight.slots[i].target->payload, tail, &landing);
    } else if (job.outcome() == HistoryJob::Outcome::kFailed) {
      CancelFailed(watcher, job.status());
    } else {
      MakeWaiting(watcher, watcher->next_revision);
      MakeReady(watcher->stream);
    }
  }
}

// Sorts the tail by watcher and encodes what will be sent of it.
void WatchHub::Impl::PrepareLanding(Landing* landing) {
  Flight& flight = *landing->flight;
  std::stable_sort(flight.tail.begin(), flight.tail.end(),
                   [](const auto& a, const auto& b) { return a.slot < b.slot; });
  if (!flight.tail.empty()) {
    for (const EventBatchPtr& batch : flight.tail_batches) {
      landing->tail_blocks.emplace_back(batch, store);
    }
  }
  for (const Flight::TailEvent& event : flight.tail) {
    const Watcher* watcher = flight.slots[event.slot].watcher;
    if (watcher == nullptr) continue;
    landing->tail_blocks[event.batch].Need(
        event.event, watcher->options.prev_kv ? EventVariant::kPrevKv : EventVariant::kPlain);
  }
  for (BatchBlocks& blocks : landing->tail_blocks) {
    landing->with_previous_status.Update(blocks.Build());
  }
  const bool want_previous =
      std::any_of(flight.slots.begin(), flight.slots.end(), [](const Flight::Slot& slot) {
        return slot.watcher != nullptr && slot.watcher->options.prev_kv &&
               !slot.target->payload.matched.empty();
      });
  if (want_previous && landing->job.outcome() == HistoryJob::Outcome::kDone) {
    landing->with_previous_status.Update(
        landing->job.BuildWithPrevious(*store, &landing->with_previous));
  }
}

void WatchHub::Impl::FinishWatcher(Watcher* watcher, const JobTarget& target,
                                   absl::Span<const Flight::TailEvent> tail, Landing* landing) {
  const int64_t compacted = store->CompactRevision();
  if (watcher->next_revision < compacted) return CancelCompacted(watcher, compacted);
  const HistoryJob& job = landing->job;
  const bool prev_kv = watcher->options.prev_kv;
  if (prev_kv && !landing->with_previous_status.ok()) {
    return CancelFailed(watcher, landing->with_previous_status);
  }
  picks.clear();
  int64_t first_main = 0;
  for (const uint32_t record : target.matched) {
    if (job.MainOf(record) < watcher->next_revision || !watcher->Wants(job.KindOf(record))) {
      continue;
    }
    if (picks.empty()) first_main = job.MainOf(record);
    picks.push_back({prev_kv ? &landing->with_previous : &job.plain(), record});
  }
  for (const Flight::TailEvent& event : tail) {
    if (picks.empty()) first_main = landing->flight->tail_batches[event.batch]->revision;
    picks.push_back({landing->tail_blocks[event.batch].Get(prev_kv ? EventVariant::kPrevKv
                                                                   : EventVariant::kPlain),
                     event.event});
  }
  if (!picks.empty()) {
    if (!sink->HasRoom(watcher->stream->id)) return MakeWaiting(watcher, first_main);
    SendEvents(watcher, picks);
  }
  if (landing->reached == published) return MakeSynced(watcher);
  MakeWaiting(watcher, std::max(landing->reached + 1, watcher->next_revision));
  MakeReady(watcher->stream);
}

}  // namespace quorate::engine
