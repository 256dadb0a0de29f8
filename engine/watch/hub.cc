#include "engine/watch/hub.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "engine/errors.h"
#include "engine/watch/hub_impl.h"

namespace quorate::engine {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;

constexpr int64_t kInvalidWatchId = -1;
constexpr std::string_view kSmallestKey{"\0", 1};

WatcherOptions OptionsOf(const WatchCreateRequest& request) {
  WatcherOptions options;
  options.prev_kv = request.prev_kv();
  options.fragment = request.fragment();
  options.progress_notify = request.progress_notify();
  for (const int filter : request.filters()) {
    if (filter == WatchCreateRequest::NOPUT) options.no_put = true;
    if (filter == WatchCreateRequest::NODELETE) options.no_delete = true;
  }
  return options;
}

}  // namespace

WatchHub::Impl::Impl(const Options& o, WatchStore* s, WatchSink* k, uint64_t jitter_seed)
    : options(o), store(s), sink(k), jitter(jitter_seed), published(s->CurrentRevision()) {
  QR_CHECK(o.catch_up_revisions_max > 0 && o.catch_up_bytes_max > 0 && o.catch_up_jobs_max > 0 &&
           o.fragment_bytes > 0);
}

void WatchHub::Impl::SendControl(const WatchStream& stream, const ControlMessage& message) {
  std::vector<Bytes> pieces;
  pieces.push_back(EncodeControl(store->Header(), message));
  sink->Send(stream.id, std::move(pieces));
}

void WatchHub::Impl::Refuse(const WatchStream& stream, std::string_view reason) {
  SendControl(stream, {.watch_id = kInvalidWatchId,
                       .revision = store->CurrentRevision(),
                       .created = true,
                       .canceled = true,
                       .cancel_reason = reason});
}

void WatchHub::Impl::Create(WatchStream* stream, const WatchCreateRequest& request) {
  const std::string_view key = request.key().empty() ? kSmallestKey : request.key();
  const std::string_view end = request.range_end();
  if (request.start_revision() < 0) return Refuse(*stream, errors::kWatchCompacted);
  if (!end.empty() && end != kFromKeyEnd && key >= end) {
    return Refuse(*stream, errors::kWatchEmptyRange);
  }
  int64_t id = request.watch_id();
  if (id == 0) {
    while (stream->watchers.contains(stream->next_auto_id)) ++stream->next_auto_id;
    id = stream->next_auto_id++;
  } else if (stream->watchers.contains(id)) {
    return Refuse(*stream, errors::kWatchDuplicateId);
  }
  auto watcher = std::make_unique<Watcher>();
  watcher->id = id;
  watcher->sequence = next_sequence++;
  watcher->stream = stream;
  watcher->options = OptionsOf(request);
  watcher->target = index.Add(key, end);
  watcher->target->payload.list.PushBack(watcher.get());
  SendControl(*stream, {.watch_id = id, .revision = store->CurrentRevision(), .created = true});
  Admit(stream, std::move(watcher), request.start_revision());
}

// Decides where a new watch begins.
void WatchHub::Impl::Admit(WatchStream* stream, std::unique_ptr<Watcher> owned,
                           int64_t start_revision) {
  Watcher* watcher = owned.get();
  stream->watchers.emplace(watcher->id, std::move(owned));
  ++counters.watchers;
  if (watcher->options.progress_notify) {
    ++stream->progress_notify;
    ScheduleProgress(stream);
  }
  const int64_t current = store->CurrentRevision();
  watcher->next_revision = start_revision == 0 ? current + 1 : start_revision;
  if (start_revision > published) {
    watcher->from_future = true;
    ++stream->from_future;
  }
  if (watcher->next_revision > published) return;
  const int64_t compacted = store->CompactRevision();
  if (watcher->next_revision < compacted) return CancelCompacted(watcher, compacted);
  MakeWaiting(watcher, watcher->next_revision);
  MakeReady(stream);
}

void WatchHub::Impl::Cancel(WatchStream* stream, int64_t watch_id) {
  const auto it = stream->watchers.find(watch_id);
  if (it == stream->watchers.end()) return;
  Remove(it->second.get());
  SendControl(*stream,
              {.watch_id = watch_id, .revision = store->CurrentRevision(), .canceled = true});
}

void WatchHub::Impl::CancelCompacted(Watcher* watcher, int64_t compact_revision) {
  SendControl(*watcher->stream, {.watch_id = watcher->id,
                                 .revision = 0,
                                 .canceled = true,
                                 .compact_revision = compact_revision});
  Remove(watcher);
}

void WatchHub::Impl::CancelFailed(Watcher* watcher, const absl::Status& status) {
  const std::string reason =
      "etcdserver: watch history cannot be read: " + std::string(status.message());
  SendControl(*watcher->stream, {.watch_id = watcher->id,
                                 .revision = store->CurrentRevision(),
                                 .canceled = true,
                                 .cancel_reason = reason});
  Remove(watcher);
}

// Watches that have all they need are not touched, whatever revision they started from.
void WatchHub::Impl::Compacted(int64_t revision) {
  std::vector<Watcher*> lost;
  for (const WatchStream* stream = lagging.front(); stream != nullptr;
       stream = lagging.Next(stream)) {
    for (Watcher* w = stream->waiting.front(); w != nullptr; w = stream->waiting.Next(w)) {
      if (w->next_revision < revision) lost.push_back(w);
    }
  }
  // The history a job reads may have been pinned after the compaction: what it brings for older
  // revisions cannot be trusted to be whole.
  for (const auto& flight : flights) {
    for (const Flight::Slot& slot : flight->slots) {
      if (slot.watcher != nullptr && slot.watcher->next_revision < revision) {
        lost.push_back(slot.watcher);
      }
    }
  }
  for (Watcher* watcher : lost) CancelCompacted(watcher, revision);
}

void WatchHub::Impl::Unlink(Watcher* watcher) {
  WatchStream* stream = watcher->stream;
  if (watcher->state == WatcherState::kWaiting) LeaveWaiting(watcher);
  if (watcher->state == WatcherState::kCatching) {
    watcher->flight->slots[watcher->flight_slot].watcher = nullptr;
  }
  if (watcher->state != WatcherState::kSynced) {
    --stream->unsynced;
    --counters.slow_watchers;
  }
  if (watcher->from_future) --stream->from_future;
  if (watcher->options.progress_notify) --stream->progress_notify;
  watcher->target->payload.list.Remove(watcher);
  if (watcher->target->payload.list.empty()) index.Remove(watcher->target);
  --counters.watchers;
}

void WatchHub::Impl::Remove(Watcher* watcher) {
  Unlink(watcher);
  watcher->stream->watchers.erase(watcher->id);
}

void WatchHub::Impl::CloseStream(WatchStream* stream) {
  for (const auto& [id, watcher] : stream->watchers) Unlink(watcher.get());
  if (stream->in_ready) ready.Remove(stream);
  QR_CHECK(!stream->in_lagging);
  if (stream->progress_scheduled) progress_due.erase({stream->progress_due_ns, stream->id});
  streams.erase(stream->id);
}

void WatchHub::Impl::MakeWaiting(Watcher* watcher, int64_t next_revision) {
  QR_CHECK(watcher->state != WatcherState::kWaiting);
  QR_CHECK(next_revision >= watcher->next_revision && next_revision <= published);
  WatchStream* stream = watcher->stream;
  if (watcher->state == WatcherState::kSynced) {
    ++stream->unsynced;
    ++counters.slow_watchers;
  }
  if (watcher->from_future) --stream->from_future;
  watcher->from_future = false;
  watcher->state = WatcherState::kWaiting;
  watcher->flight = nullptr;
  watcher->next_revision = next_revision;
  stream->waiting.PushBack(watcher);
  if (!stream->in_lagging) lagging.PushBack(stream);
  stream->in_lagging = true;
}

void WatchHub::Impl::LeaveWaiting(Watcher* watcher) {
  WatchStream* stream = watcher->stream;
  stream->waiting.Remove(watcher);
  if (!stream->waiting.empty()) return;
  lagging.Remove(stream);
  stream->in_lagging = false;
}

void WatchHub::Impl::MakeSynced(Watcher* watcher) {
  QR_CHECK(watcher->state == WatcherState::kCatching);
  watcher->state = WatcherState::kSynced;
  watcher->flight = nullptr;
  watcher->next_revision = published + 1;
  --watcher->stream->unsynced;
  --counters.slow_watchers;
}

void WatchHub::Impl::MakeReady(WatchStream* stream) {
  if (stream->in_ready || stream->waiting.empty()) return;
  ready.PushBack(stream);
  stream->in_ready = true;
}

WatchHub::WatchHub(const Options& options, WatchStore* store, WatchSink* sink,
                   uint64_t progress_jitter_seed)
    : impl_(std::make_unique<Impl>(options, store, sink, progress_jitter_seed)) {}

WatchHub::~WatchHub() = default;

void WatchHub::OpenStream(WatchStreamId stream) {
  auto [it, inserted] = impl_->streams.try_emplace(stream, std::make_unique<WatchStream>());
  QR_CHECK(inserted);
  it->second->id = stream;
  ++impl_->counters.streams;
}

void WatchHub::CloseStream(WatchStreamId id) {
  WatchStream* stream = impl_->FindStream(id);
  if (stream == nullptr) return;
  impl_->CloseStream(stream);
  --impl_->counters.streams;
}

void WatchHub::Refuse(WatchStreamId id, std::string_view reason) {
  const WatchStream* stream = impl_->FindStream(id);
  if (stream != nullptr) impl_->Refuse(*stream, reason);
}

void WatchHub::Request(WatchStreamId id, const WatchRequest& request) {
  WatchStream* stream = impl_->FindStream(id);
  if (stream == nullptr) return;
  switch (request.request_union_case()) {
    case WatchRequest::kCreateRequest:
      return impl_->Create(stream, request.create_request());
    case WatchRequest::kCancelRequest:
      return impl_->Cancel(stream, request.cancel_request().watch_id());
    case WatchRequest::kProgressRequest:
      return impl_->ProgressRequest(stream);
    case WatchRequest::REQUEST_UNION_NOT_SET:
      return;
  }
}

void WatchHub::StreamWritable(WatchStreamId id) {
  WatchStream* stream = impl_->FindStream(id);
  if (stream != nullptr) impl_->MakeReady(stream);
}

void WatchHub::Publish(const EventBatchPtr& batch) { impl_->Publish(batch); }

void WatchHub::Compacted(int64_t revision) { impl_->Compacted(revision); }

void WatchHub::Tick(int64_t now_ns) { impl_->Tick(now_ns); }

std::vector<std::unique_ptr<CatchUpJob>> WatchHub::TakeJobs() {
  std::vector<std::unique_ptr<CatchUpJob>> jobs;
  while (impl_->flights.size() < impl_->options.catch_up_jobs_max) {
    std::unique_ptr<CatchUpJob> job = impl_->BuildJob();
    if (job == nullptr) break;
    jobs.push_back(std::move(job));
  }
  return jobs;
}

void WatchHub::Finish(std::unique_ptr<CatchUpJob> job) {
  impl_->Finish(static_cast<const HistoryJob&>(*job));
}

WatchHub::Counters WatchHub::counters() const { return impl_->counters; }

}  // namespace quorate::engine
