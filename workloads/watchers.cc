#include "workloads/watchers.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "workloads/value.h"
#include "workloads/wire.h"

namespace quorate::workload {

using transport::RpcCode;
using transport::RpcStatus;

void CheckGuards(const Model& model, CheckLog* checks) {
  const History& history = model.history();
  // By key, its change before: the revision, negative for a delete.
  std::unordered_map<KeyId, int64_t> newest;
  history.ForEach([&](const Change& change) {
    const KeyRef key = model.RefOf(change.key);
    int64_t& before = newest[change.key];
    const bool checkable = change.guard > history.base() || (change.guard >= 0 && before != 0);
    // A write that nobody knows the outcome of may lie between.
    if (checkable && !model.AnyUnknown(key)) {
      // A guard of 0 says that the key was not there; its delete has a revision.
      const bool held = change.guard == 0 ? before < 0 : before == change.guard;
      checks->Expect(Check::kTxn, held, [&] {
        return StrCat("the txn on ", model.KeyText(key), " at revision ", change.revision,
                      " succeeded with guard ", change.guard, ", but the key's change before it ",
                      before < 0 ? "is a delete at " : "is a put at ", std::abs(before));
      });
    }
    before = change.deleted ? -change.revision : change.revision;
  });
}

ExpectedEvents::ExpectedEvents(const Model& model) {
  for (size_t i = 0; i < model.spaces(); ++i) {
    running_.emplace_back(static_cast<size_t>(model.space(i).count()) + 1);
  }
  model.history().ForEach([&](const Change& change) {
    const KeyRef key = model.RefOf(change.key);
    Sum& sum = running_[key.space][static_cast<size_t>(key.number) + 1];
    ++sum.events;
    sum.mixed += Mix64(static_cast<uint64_t>(change.revision));
  });
  for (auto& sums : running_) {
    for (size_t n = 1; n < sums.size(); ++n) {
      sums[n].events += sums[n - 1].events;
      sums[n].mixed += sums[n - 1].mixed;
    }
  }
}

ExpectedEvents::Sum ExpectedEvents::Of(size_t space, Interval interval) const {
  const Sum& low = running_[space][static_cast<size_t>(interval.low)];
  const Sum& high = running_[space][static_cast<size_t>(interval.high)];
  return {high.events - low.events, high.mixed - low.mixed};
}

void WatchRecord::Merge(const WatchRecord& other) {
  watches += other.watches;
  streams += other.streams;
  events += other.events;
  deletes += other.deletes;
  messages += other.messages;
  progress_messages += other.progress_messages;
  bytes += other.bytes;
  reopened_streams += other.reopened_streams;
  cancelled_watches += other.cancelled_watches;
  for (const auto& [text, count] : other.errors) errors[text] += count;
  latency.Merge(other.latency);
  series.insert(series.end(), other.series.begin(), other.series.end());
  series = MergeSeries(std::move(series));
}

// One watch stream with its watches; watch `i` of the stream has id i + 1.
class WatchRunner::Stream : public transport::ClientStreamHandler {
 public:
  Stream(WatchRunner* runner, transport::Channel* channel, std::span<Watch> watches)
      : runner_(runner), channel_(channel), watches_(watches) {}

  void Open() {
    next_create_ = 0;
    creates_in_flight_ = 0;
    reopen_at_ns_ = INT64_MAX;
    stream_ = channel_->Open(kWatchPath, {}, this);
    CreateMore();
  }
  void Close() { stream_.reset(); }
  int64_t reopen_at_ns() const { return reopen_at_ns_; }

  void OnMessage(Bytes message) override {
    const int64_t now_ns = runner_->context_.clock->MonotonicNs();
    WatchView view;
    CheckLog& checks = runner_->context_.model->checks();
    ++runner_->record_.messages;
    runner_->record_.bytes += message.size();
    if (!DecodeWatch(message.view(), &view)) {
      checks.Failed(Check::kDecode, "a message on a watch stream is no WatchResponse");
      return;
    }
    if (view.canceled && view.watch_id == -1) {  // a create that the server refused
      runner_->StreamFailed({RpcCode::kCanceled, std::string(view.cancel_reason)});
      return;
    }
    const auto place = static_cast<uint64_t>(view.watch_id) - 1;
    if (place >= watches_.size()) {
      checks.Failed(Check::kWatchOrder, StrCat("a message for watch id ", view.watch_id,
                                               ", which was not made: ", view.cancel_reason));
      return;
    }
    Watch& watch = watches_[place];
    if (view.created) Created(&watch, view);
    if (view.canceled) Cancelled(&watch, view);
    if (view.events > 0) {
      ForEachEvent(message.view(), [&](const EventView& event) {
        runner_->OnEvent(&watch, event, view.revision, now_ns);
        return true;
      });
    } else if (!view.created && !view.canceled) {
      ++runner_->record_.progress_messages;
      watch.progress_revision = std::max(watch.progress_revision, view.revision);
    }
  }

  void OnClosed(RpcStatus status) override {
    if (status.ok()) status = {RpcCode::kUnavailable, "the server ended the watch stream"};
    reopen_at_ns_ = runner_->context_.clock->MonotonicNs() + kReopenAfterNs;
    runner_->StreamFailed(status);
  }

 private:
  void CreateMore() {
    for (; next_create_ < watches_.size() && creates_in_flight_ < kCreatesInFlight;
         ++next_create_) {
      const Watch& watch = watches_[next_create_];
      if (watch.cancelled) continue;
      std::string first;
      std::string end;
      runner_->keys_.RangeOf(watch.interval, &first, &end);
      const int64_t seen = std::max({watch.last_revision, watch.progress_revision, runner_->base_});
      ++creates_in_flight_;
      stream_->Send(EncodeWatchCreate({.key = first,
                                       .end = end,
                                       .start_revision = seen + 1,
                                       .watch_id = static_cast<int64_t>(next_create_) + 1,
                                       .progress_notify = runner_->spec_.progress_notify,
                                       .prev_kv = runner_->spec_.prev_kv,
                                       .fragment = runner_->spec_.fragment}));
    }
  }

  void Created(Watch* watch, const WatchView& view) {
    if (creates_in_flight_ > 0) --creates_in_flight_;
    CreateMore();
    if (view.canceled || watch->created) return;
    watch->created = true;
    runner_->WatchCreated();
  }

  void Cancelled(Watch* watch, const WatchView& view) {
    if (watch->cancelled) return;
    watch->cancelled = true;
    ++runner_->record_.cancelled_watches;
    const std::string text = view.compact_revision > 0
                                 ? std::string("watch cancelled: it fell behind a compaction")
                                 : StrCat("watch cancelled: ", view.cancel_reason);
    ++runner_->record_.errors[text];
    if (!watch->created) runner_->StreamFailed({RpcCode::kCanceled, text});
  }

  WatchRunner* const runner_;
  transport::Channel* const channel_;
  const std::span<Watch> watches_;
  std::unique_ptr<transport::ClientStream> stream_;
  size_t next_create_ = 0;
  size_t creates_in_flight_ = 0;
  int64_t reopen_at_ns_ = INT64_MAX;
};

WatchRunner::WatchRunner(const WatcherSpec& spec, WatchContext context)
    : spec_(spec),
      context_(std::move(context)),
      keys_(context_.model->space(spec.key_space)),
      watches_(static_cast<size_t>(context_.watches)),
      recorder_("", spec.name, "watch", context_.keep_times, context_.interval_ns, nullptr) {
  QR_CHECK(!context_.channels.empty() && context_.streams > 0);
  int64_t watched_keys = 0;
  for (size_t i = 0; i < watches_.size(); ++i) {
    Watch& watch = watches_[i];
    watch.interval =
        keys_.Nth(context_.first_watch + static_cast<int64_t>(i), spec.scope, spec.slice);
    if (watched_keys <= kVersionsMax) watch.versions_at = static_cast<uint32_t>(watched_keys);
    watched_keys += watch.interval.size();
  }
  if (watched_keys <= kVersionsMax) versions_.resize(static_cast<size_t>(watched_keys));
  // Neighbouring watches share a stream: a stream's watches are one run of the row.
  const auto streams = static_cast<size_t>(context_.streams);
  for (size_t i = 0; i < streams; ++i) {
    const size_t begin = watches_.size() * i / streams;
    const size_t end = watches_.size() * (i + 1) / streams;
    streams_.push_back(
        std::make_unique<Stream>(this, context_.channels[i % context_.channels.size()],
                                 std::span<Watch>(watches_.data() + begin, end - begin)));
  }
  record_.name = spec.name;
  record_.watches = context_.watches;
  record_.streams = context_.streams;
}

WatchRunner::~WatchRunner() = default;

void WatchRunner::Open(int64_t base, std::function<void(RpcStatus)> ready) {
  base_ = base;
  to_create_ = context_.watches;
  ready_ = std::move(ready);
  for (const auto& stream : streams_) stream->Open();
}

void WatchRunner::WatchCreated() {
  if (--to_create_ == 0 && ready_ != nullptr) std::exchange(ready_, nullptr)({});
}

void WatchRunner::StreamFailed(const RpcStatus& status) {
  ++record_.errors[StrCat(CodeName(status.code), ": ", status.message)];
  if (ready_ != nullptr) std::exchange(ready_, nullptr)(status);
}

void WatchRunner::Start(int64_t start_ns) {
  recorder_.Start(start_ns);
  started_ = true;
}

int64_t WatchRunner::Poll(int64_t now_ns) {
  int64_t next = INT64_MAX;
  for (const auto& stream : streams_) {
    if (stream->reopen_at_ns() <= now_ns) {
      ++record_.reopened_streams;
      stream->Open();
    }
    next = std::min(next, stream->reopen_at_ns());
  }
  return next;
}

void WatchRunner::Tick(int64_t now_ns) {
  recorder_.Tick(now_ns);
  context_.board->AddEvents(std::exchange(board_events_, 0));
}

std::string WatchRunner::Describe(const Watch& watch) const {
  return StrCat("watch ", context_.first_watch + (&watch - watches_.data()), " of '", spec_.name,
                "' (keys ", watch.interval.low, " to ", watch.interval.high - 1, ")");
}

void WatchRunner::OnEvent(Watch* watch, const EventView& event, int64_t header_revision,
                          int64_t now_ns) {
  Model& model = *context_.model;
  CheckLog& checks = model.checks();
  const int64_t revision = event.kv.mod_revision;
  const int64_t number = keys_.NumberOf(event.kv.key);
  const bool in_order = checks.Expect(
      Check::kWatchOrder,
      watch->interval.Contains(number) && revision > watch->last_revision &&
          revision > watch->progress_revision && revision > base_ && revision <= header_revision,
      [&] {
        return StrCat(Describe(*watch), " got ", event.kv.key, " at revision ", revision,
                      " under header ", header_revision, " after revision ", watch->last_revision,
                      " and progress ", watch->progress_revision);
      });
  if (!in_order) return;
  const KeyRef key{spec_.key_space, number};
  ValueHeader header;
  if (!event.deleted) {
    const ValueFault fault = ReadValue(event.kv.value, KeyHash(event.kv.key), &header);
    const bool whole =
        checks.Expect(Check::kValue, fault == ValueFault::kNone && header.run == model.run(), [&] {
          return StrCat(Describe(*watch), " got a value of ", event.kv.key, " at revision ",
                        revision, " that is ",
                        fault != ValueFault::kNone ? ValueFaultText(fault) : "not of this run");
        });
    if (!whole) return;
  }
  if (!model.history().Seen({revision, model.IdOf(key), event.deleted, header.tag(), -1})) return;
  if (!CheckVersion(watch, number, event)) return;
  if (spec_.prev_kv) CheckPrevious(key, event);
  watch->last_revision = revision;
  ++watch->sum.events;
  watch->sum.mixed += Mix64(static_cast<uint64_t>(revision));
  ++record_.events;
  ++board_events_;
  if (event.deleted) {
    ++record_.deletes;
  } else if (started_) {
    recorder_.Answered(now_ns, now_ns - header.intended_ns, now_ns - header.intended_ns);
  }
}

bool WatchRunner::CheckVersion(Watch* watch, int64_t key, const EventView& event) {
  uint32_t unknown = 0;
  uint32_t& due =
      versions_.empty()
          ? unknown
          : versions_[watch->versions_at + static_cast<size_t>(key - watch->interval.low)];
  const KeyValueView& kv = event.kv;
  const bool sane = event.deleted
                        ? kv.version == 0 && kv.create_revision == 0 && due != 1
                        : kv.version >= 1 && (due == 0 || kv.version == int64_t{due}) &&
                              (kv.version == 1) == (kv.create_revision == kv.mod_revision);
  const uint32_t before = due;
  due = event.deleted ? 1 : static_cast<uint32_t>(kv.version) + 1;
  return context_.model->checks().Expect(Check::kWatchOrder, sane, [&] {
    return StrCat(Describe(*watch), " got ", kv.key, " at revision ", kv.mod_revision,
                  event.deleted ? " deleted, version " : " put, version ", kv.version,
                  before == 0 ? std::string() : StrCat("; version ", before, " was next"));
  });
}

void WatchRunner::CheckPrevious(KeyRef key, const EventView& event) {
  if (event.has_prev) {
    context_.model->CheckPrevious(key, event.prev, event.kv.mod_revision);
    context_.model->checks().Expect(
        Check::kWatchOrder, event.deleted || event.prev.version + 1 == event.kv.version, [&] {
          return StrCat("version ", event.kv.version, " of ", event.kv.key,
                        " came with previous version ", event.prev.version);
        });
    return;
  }
  // A compaction takes previous pairs away; without one, only a new key has none.
  context_.model->checks().Expect(
      Check::kWatchOrder,
      (!event.deleted && event.kv.version == 1) || context_.model->compacted_revision() > 0, [&] {
        return StrCat("version ", event.kv.version, " of ", event.kv.key,
                      " came without its previous pair");
      });
}

int64_t WatchRunner::Incomplete(const ExpectedEvents& expected) const {
  int64_t incomplete = 0;
  for (const Watch& watch : watches_) {
    if (!watch.cancelled && watch.sum != expected.Of(spec_.key_space, watch.interval)) {
      ++incomplete;
    }
  }
  return incomplete;
}

void WatchRunner::ReportCompleteness(const ExpectedEvents& expected) {
  for (const Watch& watch : watches_) {
    if (watch.cancelled) continue;
    const ExpectedEvents::Sum due = expected.Of(spec_.key_space, watch.interval);
    context_.model->checks().Expect(Check::kWatchComplete, watch.sum == due, [&] {
      return StrCat(Describe(watch), " delivered ", watch.sum.events, " of ", due.events,
                    " changes after revision ", base_, "; its last was revision ",
                    watch.last_revision);
    });
  }
}

WatchRecord WatchRunner::Close() {
  for (const auto& stream : streams_) stream->Close();
  context_.board->AddEvents(std::exchange(board_events_, 0));
  OperationRecord times = recorder_.Finish();
  record_.latency = std::move(times.latency);
  record_.series = std::move(times.series);
  return std::move(record_);
}

}  // namespace quorate::workload
