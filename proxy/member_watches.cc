#include "proxy/member_watches.h"

#include <algorithm>
#include <utility>

#include "proxy/requests.h"

namespace quorate::proxy {

MemberWatches::MemberWatches(Upstream* upstream, const KeyNamespace* space,
                             transport::MetadataList metadata)
    : space_(space),
      stream_(upstream, "/etcdserverpb.Watch/Watch", std::move(metadata),
              {[this] { Opened(); }, [this](Bytes message) { OnMessage(message); },
               [this](transport::RpcStatus status) { OnRefused(status); }}) {}

MemberWatches::Id MemberWatches::Add(const Target& target, MemberWatchListener* listener) {
  const Id id = ++last_id_;
  Watch& watch = watches_[id];
  watch.listener = listener;
  auto* create = watch.create.mutable_create_request();
  create->set_key(space_->Enter(target.key));
  create->set_range_end(space_->EnterEnd(target.range_end));
  create->set_start_revision(target.start_revision);
  create->set_watch_id(id);
  // Whoever shares the watch may want either.
  create->set_progress_notify(true);
  create->set_prev_kv(true);
  if (started_) {
    Create(id);
  } else {
    started_ = true;
    stream_.Start();
  }
  return id;
}

void MemberWatches::Create(Id id) {
  creating_.push_back(id);
  stream_.Send(Serialize(watches_.at(id).create));
}

void MemberWatches::Opened() {
  creating_.clear();
  for (const auto& [id, watch] : watches_) Create(id);
  if (!progress_.empty()) SendProgressRequest();
}

void MemberWatches::Remove(Id id) {
  if (watches_.erase(id) == 0) return;
  etcdserverpb::WatchRequest request;
  request.mutable_cancel_request()->set_watch_id(id);
  stream_.Send(Serialize(request));
}

void MemberWatches::AskProgress(const void* who, Progress done) {
  progress_[who] = std::move(done);
  SendProgressRequest();
}

void MemberWatches::SendProgressRequest() {
  etcdserverpb::WatchRequest request;
  request.mutable_progress_request();
  stream_.Send(Serialize(request));
}

void MemberWatches::OnMessage(const Bytes& message) {
  etcdserverpb::WatchResponse response;
  if (!Parse(message, &response)) return;
  if (response.created()) {
    if (creating_.empty()) return;
    const Id id = creating_.front();
    creating_.pop_front();
    if (response.canceled()) OnResponse(id, &response);
    return;
  }
  if (response.watch_id() >= 0) return OnResponse(response.watch_id(), &response);
  for (const auto& [who, done] : std::exchange(progress_, {})) done(response.header());
}

void MemberWatches::OnResponse(Id id, etcdserverpb::WatchResponse* response) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  space_->Leave(response);
  MemberWatchListener* const listener = found->second.listener;
  if (response->canceled()) {
    watches_.erase(found);
  } else {
    const int events = response->events_size();
    const int64_t heard = events > 0 ? response->events(events - 1).kv().mod_revision()
                                     : response->header().revision();
    auto* create = found->second.create.mutable_create_request();
    create->set_start_revision(std::max(create->start_revision(), heard + 1));
  }
  listener->OnResponse(*response);
}

void MemberWatches::OnRefused(const transport::RpcStatus& status) {
  started_ = false;
  creating_.clear();
  progress_.clear();
  for (const auto& [id, watch] : std::exchange(watches_, {})) watch.listener->OnRefused(status);
}

}  // namespace quorate::proxy
