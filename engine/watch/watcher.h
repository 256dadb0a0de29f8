// What the hub keeps per watch, per stream and per catch-up job in flight. Replica thread only.
//
// A watcher is in one of three states:
//   kSynced    has all events up to the published revision (or waits for next_revision to come)
//   kWaiting   needs events from next_revision on; queued in its stream until there is room
//   kCatching  a job in flight reads for it
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/btree_map.h"
#include "engine/watch/hub.h"
#include "engine/watch/intrusive_list.h"
#include "engine/watch/match_index.h"

namespace quorate::engine {

struct Watcher;
struct WatchStream;
struct Flight;

struct TargetWatchers;
using HubIndex = MatchIndex<TargetWatchers>;

enum class WatcherState : uint8_t { kSynced, kWaiting, kCatching };

struct WatcherOptions {
  bool prev_kv : 1 = false;
  bool fragment : 1 = false;
  bool progress_notify : 1 = false;
  bool no_put : 1 = false;
  bool no_delete : 1 = false;
};

// 100,000 of these may be idle: every byte counts.
struct Watcher {
  int64_t id = 0;
  uint64_t sequence = 0;      // creation order within the hub
  int64_t next_revision = 0;  // no event below it may be sent
  WatchStream* stream = nullptr;
  HubIndex::Target* target = nullptr;
  Flight* flight = nullptr;  // kCatching only
  uint32_t flight_slot = 0;
  WatcherState state = WatcherState::kSynced;
  WatcherOptions options;
  bool from_future = false;  // asked to start at a revision that was not published yet
  bool sent_since_progress = false;
  ListHook<Watcher> target_hook;
  ListHook<Watcher> waiting_hook;

  bool Wants(RecordKind kind) const {
    return kind == RecordKind::kPut ? !options.no_put : !options.no_delete;
  }
};
static_assert(sizeof(Watcher) <= 96);

struct TargetWatchers {
  IntrusiveList<Watcher, &Watcher::target_hook> list;  // in order of creation
};

struct WatchStream {
  WatchStreamId id = 0;
  int64_t next_auto_id = 0;
  absl::btree_map<int64_t, std::unique_ptr<Watcher>> watchers;  // by watch id
  IntrusiveList<Watcher, &Watcher::waiting_hook> waiting;       // kWaiting, first come first served
  ListHook<WatchStream> ready_hook;
  ListHook<WatchStream> lagging_hook;
  int64_t progress_due_ns = 0;
  uint32_t unsynced = 0;  // kWaiting and kCatching
  uint32_t from_future = 0;
  uint32_t progress_notify = 0;
  bool in_ready = false;
  bool in_lagging = false;
  bool progress_scheduled = false;
};

}  // namespace quorate::engine
