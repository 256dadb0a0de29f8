#include "proxy/watch_ranges.h"

#include <algorithm>
#include <utility>

#include "proxy/broadcast.h"

namespace quorate::proxy {

WatchRanges::WatchRanges(const Parts& parts) : parts_(parts) {}

WatchRanges::~WatchRanges() = default;

WatchRanges::Key WatchRanges::KeyOf(const Watch& watch) {
  return {watch.target.key, watch.target.range_end, watch.owner->requires_leader()};
}

MemberWatches* WatchRanges::StreamFor(const transport::MetadataList& metadata) {
  std::unique_ptr<MemberWatches>& stream = streams_[metadata];
  if (stream == nullptr) {
    stream = std::make_unique<MemberWatches>(parts_.upstream, parts_.space, metadata);
  }
  return stream.get();
}

void WatchRanges::Add(Watch* watch, Position position) {
  auto& broadcasts = broadcasts_[KeyOf(*watch)];
  for (const auto& broadcast : broadcasts) {
    if (broadcast->Suits(*watch)) return broadcast->Attach(watch);
  }
  MemberWatches* const stream = StreamFor(watch->owner->metadata());
  broadcasts.push_back(std::make_unique<Broadcast>(this, stream, *watch, position));
  broadcasts.back()->Attach(watch);
}

void WatchRanges::Remove(Watch* watch) {
  Broadcast* const broadcast = watch->broadcast;
  if (broadcast == nullptr) return;
  broadcast->Detach(watch);
  if (broadcast->empty()) Retire(broadcast);
}

void WatchRanges::TryToJoin(Broadcast* broadcast) {
  for (const auto& other : broadcasts_.at(broadcast->key_)) {
    if (other.get() == broadcast || !other->at_the_end_) continue;
    if (other->next_revision_ > broadcast->next_revision_) continue;
    Broadcast* const to = other.get();
    for (Watch* watch : broadcast->Dissolve()) to->Attach(watch);
    return;
  }
}

void WatchRanges::Retire(Broadcast* broadcast) {
  // Nothing more is heard of it.
  broadcast->stream_->Remove(broadcast->id_);
  const auto range = broadcasts_.find(broadcast->key_);
  auto& broadcasts = range->second;
  const auto at = std::find_if(broadcasts.begin(), broadcasts.end(),
                               [&](const auto& b) { return b.get() == broadcast; });
  if (bin_.empty()) {
    parts_.upstream->loop()->AtEndOfTurn([this, weak = std::weak_ptr(alive_)] {
      if (!weak.expired()) EmptyBin();
    });
  }
  bin_.push_back(std::move(*at));
  broadcasts.erase(at);
  if (broadcasts.empty()) broadcasts_.erase(range);
}

void WatchRanges::EmptyBin() {
  bin_.clear();
  std::erase_if(streams_, [](const auto& item) { return item.second->empty(); });
}

}  // namespace quorate::proxy
