#include "proxy/broadcast.h"

#include <algorithm>
#include <utility>

#include "proxy/requests.h"

namespace quorate::proxy {

using etcdserverpb::WatchResponse;
using transport::RpcStatus;

class Broadcast::Encodings {
 public:
  explicit Encodings(const WatchResponse& response) : response_(response) {}

  // What `watch` wants of the events; empty where it wants none.
  Bytes For(const Watch& watch) {
    const int64_t from = watch.target.start_revision;
    if (response_.events(0).kv().mod_revision() < from) return Encode(watch, from);
    std::optional<Bytes>& known = shared_[watch.filters << 1 | (watch.prev_kv ? 1 : 0)];
    if (!known.has_value()) known = Encode(watch, from);
    return *known;
  }

 private:
  Bytes Encode(const Watch& watch, int64_t from) const {
    WatchResponse wanted;
    for (const mvccpb::Event& event : response_.events()) {
      if (event.kv().mod_revision() < from || (watch.filters >> event.type() & 1) != 0) continue;
      mvccpb::Event* copy = wanted.add_events();
      copy->set_type(event.type());
      *copy->mutable_kv() = event.kv();
      if (watch.prev_kv && event.has_prev_kv()) *copy->mutable_prev_kv() = event.prev_kv();
    }
    return Serialize(wanted);
  }

  const WatchResponse& response_;
  std::array<std::optional<Bytes>, 8> shared_;  // by filters and prev_kv
};

Broadcast::Broadcast(WatchRanges* ranges, MemberWatches* stream, const Watch& first,
                     WatchRanges::Position position)
    : ranges_(ranges),
      stream_(stream),
      metadata_(first.owner->metadata()),
      key_(WatchRanges::KeyOf(first)),
      next_revision_(first.target.start_revision),
      at_the_end_(position == WatchRanges::Position::kAtTheEnd) {
  id_ = stream_->Add(first.target, this);
}

bool Broadcast::Suits(const Watch& watch) const {
  const int64_t wanted = watch.target.start_revision;
  return next_revision_ == wanted || (at_the_end_ && next_revision_ < wanted);
}

void Broadcast::Attach(Watch* watch) {
  if (!watches_.empty()) ++ranges_->parts_.counters->watchers_coalescing;
  watches_.push_back(watch);
  watch->broadcast = this;
}

void Broadcast::Detach(Watch* watch) {
  watches_.erase(std::find(watches_.begin(), watches_.end(), watch));
  watch->broadcast = nullptr;
  if (!watches_.empty()) --ranges_->parts_.counters->watchers_coalescing;
}

std::vector<Watch*> Broadcast::Dissolve() {
  std::vector<Watch*> watches = watches_;
  for (Watch* watch : watches) Detach(watch);
  ranges_->Retire(this);
  return watches;
}

void Broadcast::OnResponse(const WatchResponse& response) {
  if (response.canceled()) return OnCancel(response);
  const int events = response.events_size();
  const int64_t now = response.header().revision();
  const int64_t heard = events > 0 ? response.events(events - 1).kv().mod_revision() : now;
  next_revision_ = std::max(next_revision_, heard + 1);
  if (now < next_revision_) at_the_end_ = true;
  ranges_->parts_.counters->events_coalescing += watches_.size() - 1;
  Encodings encodings(response);
  std::vector<WatchOwner*> behind;
  for (Watch* watch : watches_) {
    Deliver(response, &encodings, watch);
    if (watch->owner->IsBehind()) behind.push_back(watch->owner);
  }
  for (WatchOwner* owner : behind) owner->TakeOut();
  if (!watches_.empty()) ranges_->TryToJoin(this);
}

void Broadcast::Deliver(const WatchResponse& response, Encodings* encodings, Watch* watch) {
  WatchResponse head;
  *head.mutable_header() = response.header();
  head.set_watch_id(watch->id);
  int64_t* const next = &watch->target.start_revision;
  if (response.events_size() == 0) {
    if (response.header().revision() + 1 < *next) return;
    *next = response.header().revision() + 1;
    if (watch->progress_notify) watch->owner->Send(head, Bytes());
    return;
  }
  const int64_t last = response.events(response.events_size() - 1).kv().mod_revision();
  if (last < *next) return;
  const Bytes wanted = encodings->For(*watch);
  *next = last + 1;
  if (!wanted.empty()) watch->owner->Send(head, wanted);
}

void Broadcast::OnCancel(const WatchResponse& response) {
  const int64_t compacted = response.compact_revision();
  for (Watch* watch : Dissolve()) {
    // What others were refused, by their rights or by where they began, is not this one's fate.
    const bool spared = compacted > 0 ? watch->target.start_revision >= compacted
                                      : watch->owner->metadata() != metadata_;
    if (spared) {
      ranges_->Add(watch, WatchRanges::Position::kInThePast);
      continue;
    }
    WatchResponse end = response;
    end.set_created(false);
    end.set_watch_id(watch->id);
    watch->owner->OnEnd(watch, end);
  }
}

void Broadcast::OnRefused(const RpcStatus& status) {
  for (Watch* watch : Dissolve()) {
    if (status.message != kNoLeaderText && watch->owner->metadata() != metadata_) {
      ranges_->Add(watch, WatchRanges::Position::kInThePast);
    } else {
      watch->owner->Fail(status);
    }
  }
}

}  // namespace quorate::proxy
