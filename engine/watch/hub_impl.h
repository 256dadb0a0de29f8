// The hub's inside, shared by the files that implement it:
//   hub.cc           streams, requests, cancels, compaction
//   hub_publish.cc   the live path and sending
//   hub_catch_up.cc  jobs out and back
//   hub_progress.cc  progress notifications and requests
//   hub_replace.cc   another store takes the place of this one
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/random.h"
#include "engine/watch/catch_up.h"
#include "engine/watch/hub.h"
#include "engine/watch/message.h"
#include "engine/watch/watcher.h"

namespace quorate::engine {

struct WatchHub::Impl {
  Impl(const Options& o, WatchStore* s, WatchSink* k, uint64_t jitter_seed);

  // --- hub.cc
  void Create(WatchStream* stream, const etcdserverpb::WatchCreateRequest& request);
  void Refuse(const WatchStream& stream, std::string_view reason);
  void Admit(WatchStream* stream, std::unique_ptr<Watcher> watcher, int64_t start_revision);
  void Cancel(WatchStream* stream, int64_t watch_id);
  void CancelCompacted(Watcher* watcher, int64_t compact_revision);
  void CancelFailed(Watcher* watcher, const absl::Status& status);
  void Compacted(int64_t revision);
  void CloseStream(WatchStream* stream);
  void SendControl(const WatchStream& stream, const ControlMessage& message);
  // Takes a watcher out of everything but its stream's table.
  void Unlink(Watcher* watcher);
  void Remove(Watcher* watcher);  // Unlink and delete

  // --- states
  void MakeWaiting(Watcher* watcher, int64_t next_revision);
  void MakeSynced(Watcher* watcher);
  void LeaveWaiting(Watcher* watcher);
  void MakeReady(WatchStream* stream);

  // --- hub_publish.cc
  struct Match {
    Watcher* watcher;
    uint32_t event;
  };
  void Publish(const EventBatchPtr& batch);
  void FindMatches(const EventBatch& batch);
  void Deliver(const EventBatchPtr& batch, absl::Span<const Match> of_one, BatchBlocks* blocks,
               const absl::Status& built);
  void KeepForTail(const EventBatchPtr& batch, absl::Span<const Match> of_one);
  // All of `picks` in one message, or in fragments. Asks nothing: the stream has room.
  void SendEvents(Watcher* watcher, absl::Span<const EventPick> picks);

  // --- hub_catch_up.cc
  std::unique_ptr<HistoryJob> BuildJob();
  void AddToJob(Watcher* watcher, Flight* flight, HistoryJob* job);
  void Finish(const HistoryJob& job);
  struct Landing;  // what Finish knows of one job
  void PrepareLanding(Landing* landing);
  void FinishWatcher(Watcher* watcher, const JobTarget& target,
                     absl::Span<const Flight::TailEvent> tail, Landing* landing);

  // --- hub_replace.cc
  void StoreReplaced(WatchStore* new_store);
  void Resume(Watcher* watcher, int64_t published_before);

  // --- hub_progress.cc
  bool AllSynced(WatchStream* stream);
  bool WaitsForFuture(Watcher* watcher);
  void ProgressRequest(WatchStream* stream);
  void ScheduleProgress(WatchStream* stream);
  void Tick(int64_t now_ns);
  void NotifyProgress(WatchStream* stream);
  int64_t DrawProgressDelayNs();

  WatchStream* FindStream(WatchStreamId id) const {
    const auto it = streams.find(id);
    return it == streams.end() ? nullptr : it->second.get();
  }

  const Options options;
  WatchStore* store;
  WatchSink* const sink;
  Random jitter;

  int64_t published;  // all events up to this revision came by Publish or were there before
  uint64_t next_sequence = 1;
  absl::flat_hash_map<WatchStreamId, std::unique_ptr<WatchStream>> streams;  // never iterated
  HubIndex index;
  IntrusiveList<WatchStream, &WatchStream::ready_hook> ready;      // waiting and perhaps with room
  IntrusiveList<WatchStream, &WatchStream::lagging_hook> lagging;  // with kWaiting watchers

  uint64_t next_flight_id = 1;
  std::vector<std::unique_ptr<Flight>> flights;  // catch_up_jobs_max at most

  std::vector<WatchStreamId> progress_unscheduled;  // get their time at the next tick
  absl::btree_set<std::pair<int64_t, WatchStreamId>> progress_due;

  HeadMaker heads;
  std::vector<Match> matches;    // scratch of Publish
  std::vector<EventPick> picks;  // scratch of one message
  Counters counters;
};

}  // namespace quorate::engine
