// The hub beside a trivial model: all events ever, and per watch the position up to which it has
// them. Random histories, rooms, job orders, compactions and cancels; every message is decoded and
// held against the model. For the hub's tests, over any store with FakeStore's few methods.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "engine/watch/watch_test_util.h"

namespace quorate::engine::watch_test {

inline const std::string& kFromKey = kEverything;

struct ModelEvent {
  mvccpb::Event event;  // as a watch with prev_kv sees it
  int64_t main() const { return event.kv().mod_revision(); }
};

struct ModelWatch {
  WatchCreateRequest create;
  int64_t first = 0;     // nothing below this revision is wanted
  size_t position = 0;   // in the model's events: before it, all was seen or is not wanted
  bool may_lag = false;  // it may have missed something at some time
  bool fragment_open = false;
};

template <class Store>
class World {
 public:
  template <class... StoreArguments>
  explicit World(uint64_t seed, StoreArguments&&... store_arguments)
      : random_(seed),
        options_(DrawOptions()),
        store_(std::forward<StoreArguments>(store_arguments)...),
        hub_(options_, &store_, &sink_, seed) {}

  void Step() {
    switch (random_.Below(18)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Write();
      case 4:
        return PublishAll();
      case 5:
        return Create();
      case 16:
      case 17:
        return Create();
      case 6:
        return Cancel();
      case 7:
        return OpenOrClose();
      case 8:
      case 9:
        return ChangeRoom();
      case 10:
        return TakeJobs();
      case 11:
      case 12:
        return FinishOne();
      case 13:
        return RequestProgress();
      case 14:
        return Tick();
      default:
        if (random_.OneIn(24)) Compact();
    }
  }

  // With room for everybody, all that is owed arrives.
  void Settle() {
    PublishAll();
    for (const auto& [id, next_auto_id] : streams_) {
      sink_.streams[id].room = 1 << 30;
      hub_.StreamWritable(id);
    }
    for (int round = 0; round < 100'000 && (round == 0 || !jobs_.empty()); ++round) {
      TakeJobs();
      if (!jobs_.empty()) FinishOne();
      if (jobs_.empty()) TakeJobs();
    }
    Absorb();
    for (const auto& [id, watch] : watches_) {
      ModelWatch copy = watch;
      REQUIRE(NextWanted(&copy) == nullptr);
    }
    const WatchHub::Counters counters = hub_.counters();
    REQUIRE(counters.slow_watchers == 0);
    REQUIRE(counters.pending_events == 0);
    REQUIRE(counters.watchers == watches_.size());
    REQUIRE(counters.streams == streams_.size());
    REQUIRE(counters.events_sent == events_seen_);
  }

  uint64_t events_seen() const { return events_seen_; }
  uint64_t compaction_cancels() const { return compaction_cancels_; }
  uint64_t progress_seen() const { return progress_seen_; }
  uint64_t catch_up_jobs() const { return catch_up_jobs_; }
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  using WatchKey = std::pair<WatchStreamId, int64_t>;

  WatchHub::Options DrawOptions() {
    WatchHub::Options options;
    options.progress_interval_ns = 1'000'000'000;
    options.fragment_bytes = random_.Between(60, 400);
    options.catch_up_revisions_max = static_cast<uint32_t>(random_.Between(1, 40));
    options.catch_up_bytes_max = random_.Between(1, 3000);
    options.catch_up_jobs_max = static_cast<uint32_t>(random_.Between(1, 4));
    return options;
  }

  std::string Key() { return std::string(1, static_cast<char>('a' + random_.Below(6))); }

  void Write() {
    std::vector<Op> ops;
    std::string used;  // each key once: what a compaction leaves of two changes is not all of them
    for (uint64_t i = 0, n = random_.OneIn(3) ? random_.Between(1, 6) : 1; i < n; ++i) {
      Op op{Key(), std::nullopt};
      if (used.find(op.key) != std::string::npos) continue;
      used += op.key;
      if (!random_.OneIn(3)) op.value = std::string(random_.Below(60), 'v');
      ops.push_back(std::move(op));
    }
    const std::map<std::string, mvccpb::KeyValue> before = live_;
    const EventBatchPtr batch = store_.Apply(ops);
    if (batch == nullptr) return;
    for (const Event& event : batch->events) Remember(event, before);
    unpublished_.push_back(batch);
    if (!random_.OneIn(4)) PublishAll();
  }

  void Remember(const Event& event, const std::map<std::string, mvccpb::KeyValue>& before) {
    ModelEvent model;
    REQUIRE(model.event.mutable_kv()->ParseFromArray(event.kv.data(),
                                                     static_cast<int>(event.kv.size())));
    const std::string key(event.key);
    const auto previous = before.find(key);
    if (event.record.kind == RecordKind::kTombstone) {
      model.event.set_type(mvccpb::Event::DELETE);
      model.event.mutable_kv()->set_mod_revision(event.record.revision.main);
      live_.erase(key);
    } else {
      live_[key] = model.event.kv();
    }
    const bool creation = model.event.kv().create_revision() == event.record.revision.main;
    if (previous != before.end() && !creation) *model.event.mutable_prev_kv() = previous->second;
    events_.push_back(std::move(model));
  }

  void PublishAll() {
    for (; !unpublished_.empty(); unpublished_.pop_front()) {
      published_ = unpublished_.front()->revision;
      for (auto& [key, watch] : watches_) {
        if (sink_.streams[key.first].room < 100) watch.may_lag = true;
      }
      hub_.Publish(unpublished_.front());
      Absorb();
    }
  }

  void OpenOrClose() {
    const WatchStreamId id = random_.Between(1, 5);
    if (streams_.count(id) == 0) {
      streams_[id] = 0;
      hub_.OpenStream(id);
    } else if (random_.OneIn(8)) {
      hub_.CloseStream(id);
      streams_.erase(id);
      watches_.erase(watches_.lower_bound({id, std::numeric_limits<int64_t>::min()}),
                     watches_.upper_bound({id, std::numeric_limits<int64_t>::max()}));
      sink_.Take(id);
    }
  }

  WatchStreamId AnyStream() {
    auto it = streams_.begin();
    std::advance(it, static_cast<int64_t>(random_.Below(streams_.size())));
    return it->first;
  }

  WatchCreateRequest DrawCreate() {
    WatchCreateRequest create;
    create.set_key(random_.OneIn(10) ? "" : Key());
    if (random_.OneIn(3)) create.set_range_end(Key());
    if (random_.OneIn(6)) create.set_range_end(kFromKey);
    const int64_t current = store_.CurrentRevision();
    if (random_.OneIn(2)) {
      create.set_start_revision(random_.Between(std::max<int64_t>(1, current - 100), current + 3));
    }
    if (random_.OneIn(3)) create.set_watch_id(random_.Between(-2, 6));
    create.set_prev_kv(random_.OneIn(2));
    create.set_fragment(random_.OneIn(3));
    create.set_progress_notify(random_.OneIn(2));
    if (random_.OneIn(5)) create.add_filters(WatchCreateRequest::NOPUT);
    if (random_.OneIn(5)) create.add_filters(WatchCreateRequest::NODELETE);
    return create;
  }

  void Create() {
    if (streams_.empty() || watches_.size() > 60) return;
    const WatchStreamId stream = AnyStream();
    WatchRequest request;
    ModelWatch watch;
    watch.create = *request.mutable_create_request() = DrawCreate();
    const WatchCreateRequest& create = watch.create;
    const std::string key = create.key().empty() ? kFromKey : create.key();
    const std::string& end = create.range_end();
    int64_t id = create.watch_id();
    bool refused = !end.empty() && end != kFromKey && key >= end;
    if (!refused && id == 0) {
      int64_t& next = streams_[stream];
      while (watches_.count({stream, next}) > 0) ++next;
      id = next++;
    } else if (watches_.count({stream, id}) > 0) {
      refused = true;
    }
    hub_.Request(stream, request);
    std::vector<WatchResponse> got = sink_.Take(stream);
    REQUIRE(got.size() >= 1);
    REQUIRE(got[0].created());
    REQUIRE(got[0].canceled() == refused);
    REQUIRE(got[0].watch_id() == (refused ? -1 : id));
    REQUIRE(got[0].header().revision() == store_.CurrentRevision());
    if (refused) return;
    if (create.start_revision() > 0 && create.start_revision() <= published_ &&
        create.start_revision() < store_.CompactRevision()) {
      REQUIRE(got.size() == 2);
      REQUIRE(got[1].canceled());
      REQUIRE(got[1].compact_revision() == store_.CompactRevision());
      return;
    }
    REQUIRE(got.size() == 1);
    const int64_t first =
        create.start_revision() > 0 ? create.start_revision() : store_.CurrentRevision() + 1;
    watch.may_lag = first <= published_;
    watch.first = first;
    watches_[{stream, id}] = std::move(watch);
  }

  void Cancel() {
    if (streams_.empty()) return;
    const WatchStreamId stream = AnyStream();
    const int64_t id = random_.Between(-2, 8);
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(id);
    hub_.Request(stream, request);
    const std::vector<WatchResponse> got = sink_.Take(stream);
    REQUIRE(got.size() == watches_.count({stream, id}));
    if (got.empty()) return;
    REQUIRE(got[0].canceled());
    REQUIRE(got[0].watch_id() == id);
    watches_.erase({stream, id});
  }

  void ChangeRoom() {
    if (streams_.empty()) return;
    const WatchStreamId id = AnyStream();
    int64_t& room = sink_.streams[id].room;
    const bool had_room = room > 0;
    const int64_t rooms[] = {0, 1, 2, 5, 1000};
    room = rooms[random_.Below(5)];
    if (!had_room && room > 0) hub_.StreamWritable(id);
    if (room < 100) {
      for (auto& [key, watch] : watches_) watch.may_lag = watch.may_lag || key.first == id;
    }
  }

  void TakeJobs() {
    for (auto& job : hub_.TakeJobs()) {
      REQUIRE(job->first_main() <= job->last_main());
      REQUIRE(job->last_main() <= published_);
      REQUIRE(job->last_main() - job->first_main() < options_.catch_up_revisions_max);
      jobs_.emplace_back(std::move(job), store_.Pin());
      ++catch_up_jobs_;
    }
    REQUIRE(jobs_.size() <= options_.catch_up_jobs_max);
  }

  void FinishOne() {
    if (jobs_.empty()) return;
    const size_t pick = random_.Below(jobs_.size());
    auto [job, history] = std::move(jobs_[pick]);
    jobs_.erase(jobs_.begin() + static_cast<int64_t>(pick));
    if (!random_.OneIn(20)) job->Run(*history);
    hub_.Finish(std::move(job));
    Absorb();
  }

  void Compact() {
    const int64_t low = std::max<int64_t>(store_.CompactRevision(), 0) + 1;
    const int64_t high = store_.CurrentRevision();
    if (low > high) return;
    const int64_t revision = random_.Between(std::max(low, high - 60), high);
    store_.Compact(revision);
    hub_.Compacted(revision);
    Absorb();
  }

  void RequestProgress() {
    if (streams_.empty()) return;
    const WatchStreamId stream = AnyStream();
    WatchRequest request;
    request.mutable_progress_request();
    hub_.Request(stream, request);
    Absorb();
  }

  void Tick() {
    now_ns_ += random_.Between(0, 800'000'000);
    hub_.Tick(now_ns_);
    Absorb();
  }

  void Absorb() {
    for (const auto& [stream, next_auto_id] : streams_) {
      for (const WatchResponse& response : sink_.Take(stream)) {
        fingerprint_ = fingerprint_ * 31 + std::hash<std::string>()(response.SerializeAsString());
        Check(stream, response);
      }
    }
  }

  void Check(WatchStreamId stream, const WatchResponse& response) {
    REQUIRE_FALSE(response.created());
    if (response.watch_id() == -1 && response.events_size() == 0 && !response.canceled() &&
        watches_.count({stream, -1}) == 0) {
      for (auto& [key, watch] : watches_) {
        if (key.first == stream) CheckProgress(&watch, response.header().revision());
      }
      return;
    }
    const WatchKey key{stream, response.watch_id()};
    const auto it = watches_.find(key);
    REQUIRE(it != watches_.end());
    if (response.canceled()) {
      REQUIRE(response.compact_revision() == store_.CompactRevision());
      REQUIRE(response.header().revision() == 0);
      REQUIRE(response.cancel_reason().empty());
      REQUIRE(it->second.may_lag);
      watches_.erase(it);
      ++compaction_cancels_;
    } else if (response.events_size() == 0) {
      if (key.second != -1) {
        REQUIRE(it->second.create.progress_notify());
      }
      CheckProgress(&it->second, response.header().revision());
    } else {
      CheckEvents(&it->second, response);
    }
  }

  // All wanted events up to `revision` came before.
  void CheckProgress(ModelWatch* watch, int64_t revision) {
    REQUIRE(revision <= published_);
    const ModelEvent* next = NextWanted(watch);
    REQUIRE((next == nullptr || next->main() > revision));
    REQUIRE((watch->create.start_revision() == 0 || revision >= watch->first));
    ++progress_seen_;
  }

  const ModelEvent* NextWanted(ModelWatch* watch) const {
    const WatchCreateRequest& create = watch->create;
    const std::string begin = create.key().empty() ? kFromKey : create.key();
    const std::string& end = create.range_end();
    for (; watch->position < events_.size(); ++watch->position) {
      const mvccpb::Event& event = events_[watch->position].event;
      const std::string& key = event.kv().key();
      const bool inside =
          end.empty() ? key == begin : begin <= key && (end == kFromKey || key < end);
      const int wrong = event.type() == mvccpb::Event::PUT ? WatchCreateRequest::NOPUT
                                                           : WatchCreateRequest::NODELETE;
      const bool filtered = std::find(create.filters().begin(), create.filters().end(), wrong) !=
                            create.filters().end();
      const bool early = events_[watch->position].main() < watch->first;
      if (inside && !filtered && !early) return &events_[watch->position];
    }
    return nullptr;
  }

  void CheckEvents(ModelWatch* watch, const WatchResponse& response) {
    REQUIRE(response.header().revision() == store_.CurrentRevision());
    int64_t last_main = 0;
    for (const mvccpb::Event& got : response.events()) {
      const ModelEvent* wanted = NextWanted(watch);
      REQUIRE(wanted != nullptr);
      REQUIRE(wanted->main() <= published_);
      mvccpb::Event expected = wanted->event;
      // The previous pair may be gone with a compaction, else it must be there.
      const bool may_lack = wanted->main() - 1 < store_.CompactRevision() && !got.has_prev_kv();
      if (!watch->create.prev_kv() || may_lack) expected.clear_prev_kv();
      REQUIRE(got.SerializeAsString() == expected.SerializeAsString());
      last_main = wanted->main();
      ++watch->position;
      ++events_seen_;
    }
    if (watch->create.fragment()) {
      REQUIRE((response.events_size() == 1 || response.ByteSizeLong() < options_.fragment_bytes));
      watch->fragment_open = response.fragment();
    } else {
      REQUIRE_FALSE(response.fragment());
    }
    if (response.fragment()) return;
    const ModelEvent* next = NextWanted(watch);
    REQUIRE((next == nullptr || next->main() > last_main));
  }

  Random random_;
  const WatchHub::Options options_;
  Store store_;
  FakeSink sink_;
  WatchHub hub_;

  std::vector<ModelEvent> events_;
  std::map<std::string, mvccpb::KeyValue> live_;
  std::map<WatchStreamId, int64_t> streams_;  // and its next automatic id
  std::map<WatchKey, ModelWatch> watches_;
  std::deque<EventBatchPtr> unpublished_;
  std::vector<std::pair<std::unique_ptr<CatchUpJob>, std::unique_ptr<HistoryReader>>> jobs_;
  int64_t published_ = 1;
  int64_t now_ns_ = 1;
  uint64_t events_seen_ = 0, compaction_cancels_ = 0, progress_seen_ = 0, catch_up_jobs_ = 0;
  uint64_t fingerprint_ = 0;
};

inline uint64_t BaseSeed() {
  const char* from_env = std::getenv("QUORATE_SEED");
  return from_env != nullptr ? std::strtoull(from_env, nullptr, 10) : 4'711;
}

}  // namespace quorate::engine::watch_test
