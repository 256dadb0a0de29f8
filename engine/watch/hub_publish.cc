// The live path: one batch to all who want it.
#include <algorithm>

#include "base/check.h"
#include "engine/watch/hub_impl.h"

namespace quorate::engine {
namespace {

constexpr size_t kTailEventsMax = 64 << 10;  // per job in flight

EventVariant VariantOf(const Watcher& watcher) {
  return watcher.options.prev_kv ? EventVariant::kPrevKv : EventVariant::kPlain;
}

}  // namespace

// Who wants what: by event, and within an event by creation of the watch.
void WatchHub::Impl::FindMatches(const EventBatch& batch) {
  matches.clear();
  size_t targets = 0;
  for (uint32_t i = 0; i < batch.events.size(); ++i) {
    const Event& event = batch.events[i];
    index.Match(event.key, [&](HubIndex::Target& target) {
      ++targets;
      const auto& list = target.payload.list;
      for (Watcher* w = list.front(); w != nullptr; w = list.Next(w)) {
        if (w->state == WatcherState::kWaiting || batch.revision < w->next_revision) continue;
        if (w->state == WatcherState::kCatching && !w->flight->collects_tail) continue;
        if (w->Wants(event.record.kind)) matches.push_back({w, i});
      }
    });
  }
  if (targets <= 1) return;  // one list, already in order
  std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
    return a.watcher != b.watcher ? a.watcher->sequence < b.watcher->sequence : a.event < b.event;
  });
}

void WatchHub::Impl::Publish(const EventBatchPtr& batch) {
  QR_CHECK(batch->revision == published + 1);
  published = batch->revision;
  FindMatches(*batch);
  if (matches.empty()) return;
  BatchBlocks blocks(batch, store);
  for (const Match& match : matches) {
    if (match.watcher->state == WatcherState::kSynced) {
      blocks.Need(match.event, VariantOf(*match.watcher));
    }
  }
  const absl::Status built = blocks.Build();
  heads.SetHeader(store->Header(), store->CurrentRevision());
  absl::Span<const Match> rest = matches;
  while (!rest.empty()) {
    size_t count = 1;
    while (count < rest.size() && rest[count].watcher == rest[0].watcher) ++count;
    Deliver(batch, rest.first(count), &blocks, built);
    rest.remove_prefix(count);
  }
}

void WatchHub::Impl::Deliver(const EventBatchPtr& batch, absl::Span<const Match> of_one,
                             BatchBlocks* blocks, const absl::Status& built) {
  Watcher* watcher = of_one.front().watcher;
  if (watcher->state == WatcherState::kCatching) return KeepForTail(batch, of_one);
  if (!built.ok() && watcher->options.prev_kv) return CancelFailed(watcher, built);
  if (!sink->HasRoom(watcher->stream->id)) return MakeWaiting(watcher, batch->revision);
  picks.clear();
  const EventBlock* block = blocks->Get(VariantOf(*watcher));
  for (const Match& match : of_one) picks.push_back({block, match.event});
  SendEvents(watcher, picks);
}

void WatchHub::Impl::KeepForTail(const EventBatchPtr& batch, absl::Span<const Match> of_one) {
  const Watcher* watcher = of_one.front().watcher;
  Flight* flight = watcher->flight;
  if (!flight->collects_tail) return;  // this very batch was too much
  if (flight->tail_batches.empty() || flight->tail_batches.back() != batch) {
    flight->tail_batches.push_back(batch);
    for (const Event& event : batch->events) flight->tail_bytes += event.kv.size();
  }
  const uint32_t number = static_cast<uint32_t>(flight->tail_batches.size() - 1);
  for (const Match& match : of_one) {
    flight->tail.push_back({watcher->flight_slot, number, match.event});
  }
  counters.pending_events += of_one.size();
  if (flight->tail.size() > kTailEventsMax || flight->tail_bytes > options.catch_up_bytes_max) {
    counters.pending_events -= flight->tail.size();
    flight->collects_tail = false;
    flight->tail.clear();
    flight->tail_batches.clear();
  }
}

void WatchHub::Impl::SendEvents(Watcher* watcher, absl::Span<const EventPick> all) {
  counters.events_sent += all.size();
  watcher->sent_since_progress = true;
  if (watcher->options.fragment) {
    const size_t head_bytes = heads.Make(watcher->id, HeadMaker::Fragment::kLast).size();
    size_t count = FragmentLength(head_bytes, all, options.fragment_bytes);
    const size_t fragment_head_bytes = head_bytes + 2;
    if (count < all.size()) {
      count = FragmentLength(fragment_head_bytes, all, options.fragment_bytes);
    }
    while (count < all.size()) {
      Bytes head = heads.Make(watcher->id, HeadMaker::Fragment::kMoreFollow);
      sink->Send(watcher->stream->id, Assemble(std::move(head), all.first(count)));
      all.remove_prefix(count);
      count = FragmentLength(fragment_head_bytes, all, options.fragment_bytes);
    }
  }
  Bytes head = heads.Make(watcher->id, HeadMaker::Fragment::kLast);
  sink->Send(watcher->stream->id, Assemble(std::move(head), all));
}

}  // namespace quorate::engine
