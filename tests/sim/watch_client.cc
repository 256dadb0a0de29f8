#include "tests/sim/watch_client.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace quorate::sim {
namespace {

constexpr size_t kNoRecord = SIZE_MAX;
constexpr int64_t kCreatedWithinNs = 5 * kNanosPerSecond;

}  // namespace

WatchClient::WatchClient(ClientWorld* world, Place place) : world_(world), place_(place) {
  Random& random = world->kernel->random();
  if (random.OneIn(2)) {
    key_ = range_end_ = std::string(1, '\0');
  } else {
    key_ = StrCat("g", random.Below(world->key_groups), "/");
    range_end_ = key_ + "~";
  }
}

void WatchClient::Open() {
  Random& random = world_->kernel->random();
  member_ = world_->members[random.Below(world_->members.size())];
  const uint64_t generation = ++generation_;
  epoch_ = member_->epoch();
  stream_ = world_->caller->OpenStream(place_, member_, "/etcdserverpb.Watch/Watch",
                                       {[this, generation](const std::string& body) {
                                          if (generation == generation_) OnMessage(body);
                                        },
                                        [this, generation] {
                                          if (generation == generation_) OpenAgain();
                                        }});
  etcdserverpb::WatchRequest request;
  etcdserverpb::WatchCreateRequest* create = request.mutable_create_request();
  create->set_key(key_);
  create->set_range_end(range_end_);
  create->set_start_revision(next_revision_);
  create->set_progress_notify(random.OneIn(2));
  create->set_fragment(random.OneIn(2));
  stream_->Send(request.SerializeAsString());
  world_->kernel->After(kCreatedWithinNs, [this, generation] { LookAfter(generation); });
}

// A stream that never began, or whose member is gone, is given up; and some for no reason.
void WatchClient::LookAfter(uint64_t generation) {
  if (generation != generation_) return;
  const bool dead = !member_->running() || member_->epoch() != epoch_ || record_ == kNoRecord;
  if (dead || (!world_->stopping && world_->kernel->random().OneIn(8))) return OpenAgain();
  if (world_->kernel->random().OneIn(2)) {
    etcdserverpb::WatchRequest request;
    request.mutable_progress_request();
    stream_->Send(request.SerializeAsString());
  }
  world_->kernel->After(world_->kernel->Draw(0, 2 * kNanosPerSecond),
                        [this, generation] { LookAfter(generation); });
}

void WatchClient::OpenAgain() {
  ++generation_;
  End(WatchRecord::End::kBroken);
  if (stream_ != nullptr) stream_->Close();
  world_->kernel->After(world_->kernel->Draw(0, 300 * kNanosPerMilli), [this] { Open(); });
}

void WatchClient::End(WatchRecord::End end) {
  if (record_ == kNoRecord) return;
  record()->end = end;
  record_ = kNoRecord;
}

void WatchClient::OnCreated(const etcdserverpb::WatchResponse& response) {
  WatchRecord watch;
  watch.id = world_->history->watches.size() + 1;
  watch.key = key_;
  watch.range_end = range_end_;
  watch.end = WatchRecord::End::kOpen;
  if (next_revision_ == 0) next_revision_ = response.header().revision() + 1;
  watch.start_revision = next_revision_;
  record_ = world_->history->watches.size();
  world_->history->watches.push_back(std::move(watch));
}

void WatchClient::OnMessage(const std::string& body) {
  etcdserverpb::WatchResponse response;
  if (!response.ParseFromString(body)) return OpenAgain();
  world_->kernel->Note("watch", place_, static_cast<uint64_t>(response.header().revision()));
  if (response.created() && !response.canceled()) return OnCreated(response);
  if (response.canceled()) {
    // It may come in place of the creation.
    if (record_ == kNoRecord && response.compact_revision() != 0) OnCreated(response);
    if (response.compact_revision() != 0) {
      record()->compact_revision = response.compact_revision();
      End(WatchRecord::End::kCompacted);
      next_revision_ = std::max(next_revision_, response.compact_revision() + 1);
    }
    return OpenAgain();
  }
  if (record_ == kNoRecord) return;
  WatchRecord::Response seen;
  seen.revision = response.header().revision();
  seen.fragment = response.fragment();
  seen.events.assign(response.events().begin(), response.events().end());
  if (!seen.events.empty() && !seen.fragment) {
    next_revision_ = seen.events.back().kv().mod_revision() + 1;
  }
  record()->responses.push_back(std::move(seen));
}

}  // namespace quorate::sim
