// Progress: "you have everything up to revision R". True by construction: it is said only of synced
// watchers, their events went into the same sink before, and R is the revision published so far
// (not the store's, which may be ahead of Publish). A stream without room is not told: it gets
// another chance, and what it has not read yet cannot pile up.
#include <algorithm>

#include "base/clock.h"
#include "engine/watch/hub_impl.h"

namespace quorate::engine {
namespace {

constexpr int64_t kProgressIntervalMinNs = 100 * kNanosPerMilli;
constexpr int64_t kAllWatches = -1;  // the watch id that stands for the whole stream

}  // namespace

bool WatchHub::Impl::WaitsForFuture(Watcher* watcher) {
  if (!watcher->from_future) return false;
  if (watcher->next_revision > published) return true;
  watcher->from_future = false;
  --watcher->stream->from_future;
  return false;
}

bool WatchHub::Impl::AllSynced(WatchStream* stream) {
  if (stream->unsynced > 0) return false;
  if (stream->from_future == 0) return true;
  return std::none_of(stream->watchers.begin(), stream->watchers.end(),
                      [this](const auto& entry) { return WaitsForFuture(entry.second.get()); });
}

void WatchHub::Impl::ProgressRequest(WatchStream* stream) {
  if (stream->watchers.empty() || !AllSynced(stream) || !sink->HasRoom(stream->id)) return;
  SendControl(*stream, {.watch_id = kAllWatches, .revision = published});
}

int64_t WatchHub::Impl::DrawProgressDelayNs() {
  const int64_t interval_ns = std::max(options.progress_interval_ns, kProgressIntervalMinNs);
  return interval_ns + jitter.Between(0, interval_ns / 10);
}

// The time comes with the next tick; the hub has no other clock.
void WatchHub::Impl::ScheduleProgress(WatchStream* stream) {
  if (stream->progress_scheduled || stream->progress_notify > 1) return;
  progress_unscheduled.push_back(stream->id);
}

void WatchHub::Impl::Tick(int64_t now_ns) {
  const auto schedule = [&](WatchStream* stream) {
    stream->progress_due_ns = now_ns + DrawProgressDelayNs();
    stream->progress_scheduled = true;
    progress_due.emplace(stream->progress_due_ns, stream->id);
  };
  for (const WatchStreamId id : progress_unscheduled) {
    WatchStream* stream = FindStream(id);
    if (stream != nullptr && !stream->progress_scheduled) schedule(stream);
  }
  progress_unscheduled.clear();
  while (!progress_due.empty() && progress_due.begin()->first <= now_ns) {
    WatchStream* stream = FindStream(progress_due.begin()->second);
    progress_due.erase(progress_due.begin());
    stream->progress_scheduled = false;
    if (stream->progress_notify == 0) continue;
    NotifyProgress(stream);
    schedule(stream);
  }
}

void WatchHub::Impl::NotifyProgress(WatchStream* stream) {
  for (const auto& [id, watcher] : stream->watchers) {
    if (!watcher->options.progress_notify) continue;
    const bool sent = std::exchange(watcher->sent_since_progress, false);
    if (sent || watcher->state != WatcherState::kSynced || WaitsForFuture(watcher.get())) continue;
    if (!sink->HasRoom(stream->id)) return;
    SendControl(*stream, {.watch_id = id, .revision = published});
  }
}

}  // namespace quorate::engine
