// A snapshot took the place of the store: no event between the two was published here, so whoever
// had all of the old one's events now lags behind and reads the rest from the new one.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "engine/watch/hub_impl.h"

namespace quorate::engine {

void WatchHub::Impl::StoreReplaced(WatchStore* new_store) {
  const int64_t published_before = published;
  QR_CHECK(new_store->CurrentRevision() >= published);
  store = new_store;
  published = store->CurrentRevision();
  std::vector<WatchStreamId> ids;  // in an order that does not depend on the table's
  for (const auto& [id, stream] : streams) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const WatchStreamId id : ids) {
    WatchStream* stream = FindStream(id);
    for (const auto& [watch_id, watcher] : stream->watchers) {
      Resume(watcher.get(), published_before);
    }
    MakeReady(stream);
  }
  Compacted(store->CompactRevision());
}

void WatchHub::Impl::Resume(Watcher* watcher, int64_t published_before) {
  if (watcher->state == WatcherState::kWaiting) return;
  int64_t next = watcher->next_revision;
  if (watcher->state == WatcherState::kSynced) {
    next = std::max(next, published_before + 1);
    if (next > published) return;  // nothing was missed, or it waits for what is still to come
  } else {
    // What the job under way reads for it is of the old store.
    watcher->flight->slots[watcher->flight_slot].watcher = nullptr;
  }
  MakeWaiting(watcher, next);
}

void WatchHub::StoreReplaced(WatchStore* store) { impl_->StoreReplaced(store); }

}  // namespace quorate::engine
