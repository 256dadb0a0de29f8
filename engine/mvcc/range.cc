#include "engine/mvcc/range.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

using etcdserverpb::RangeRequest;

bool HasFilters(const RangeRequest& request) {
  return request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
         request.min_create_revision() != 0 || request.max_create_revision() != 0;
}

// Sorting that needs the whole interval; key order is what the index gives anyway.
bool SortsAll(const RangeRequest& request) {
  return request.sort_order() == RangeRequest::DESCEND ||
         (request.sort_order() == RangeRequest::ASCEND &&
          request.sort_target() != RangeRequest::KEY);
}

// etcd's quirk: without an order, another target than the key sorts what was fetched.
bool SortsFetched(const RangeRequest& request) {
  return SortsAll(request) ||
         (request.sort_order() == RangeRequest::NONE && request.sort_target() != RangeRequest::KEY);
}

bool IsPlain(const RangeRequest& request) {
  return !HasFilters(request) && !SortsFetched(request) && !request.keys_only() &&
         !request.count_only();
}

bool PassesFilters(const RangeRequest& request, const wire::KeyValue& kv) {
  return (request.min_mod_revision() == 0 || kv.mod_revision >= request.min_mod_revision()) &&
         (request.max_mod_revision() == 0 || kv.mod_revision <= request.max_mod_revision()) &&
         (request.min_create_revision() == 0 ||
          kv.create_revision >= request.min_create_revision()) &&
         (request.max_create_revision() == 0 ||
          kv.create_revision <= request.max_create_revision());
}

bool Less(RangeRequest::SortTarget target, const wire::KeyValue& a, const wire::KeyValue& b) {
  switch (target) {
    case RangeRequest::VERSION:
      return a.version < b.version;
    case RangeRequest::CREATE:
      return a.create_revision < b.create_revision;
    case RangeRequest::MOD:
      return a.mod_revision < b.mod_revision;
    case RangeRequest::VALUE:
      return a.value < b.value;
    default:
      return a.key < b.key;
  }
}

void AppendMoreAndCount(std::string* out, bool more, uint64_t count) {
  wire::AppendUint(out, 3, more ? 1 : 0);
  wire::AppendUint(out, 4, count);
}

void AppendRecords(const MvccStore& store, const std::vector<RecordRef>& refs, size_t keep,
                   std::string* out) {
  const absl::Status status =
      store.Read({refs.data(), keep}, [&](size_t i, std::optional<std::string_view> kv) {
        QR_CHECK_MSG(kv, StrCat("the record of revision ", refs[i].revision.main, ".",
                                refs[i].revision.sub, " is in the index and nowhere else"));
        wire::AppendBytes(out, 2, *kv);
      });
  QR_CHECK_MSG(status.ok(), ToStd(status.message()));
}

// Filters, sorts, cuts, drops values: the ways that need the pairs in hand.
void EvaluateSelected(const MvccStore& store, const RangeRequest& request,
                      const std::vector<RecordRef>& refs, uint64_t count, std::string* out) {
  std::vector<std::string> stored(refs.size());
  const absl::Status status = store.Read(refs, [&](size_t i, std::optional<std::string_view> kv) {
    QR_CHECK_MSG(kv, "a record is in the index and nowhere else");
    stored[i].assign(*kv);
  });
  QR_CHECK_MSG(status.ok(), ToStd(status.message()));
  std::vector<wire::KeyValue> pairs;
  pairs.reserve(refs.size());
  for (const std::string& bytes : stored) {
    const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(bytes);
    QR_CHECK(kv);
    if (PassesFilters(request, *kv)) pairs.push_back(*kv);
  }
  if (SortsFetched(request)) {
    const auto target = request.sort_target();
    const bool descend = request.sort_order() == RangeRequest::DESCEND;
    std::stable_sort(pairs.begin(), pairs.end(),
                     [&](const wire::KeyValue& a, const wire::KeyValue& b) {
                       return descend ? Less(target, b, a) : Less(target, a, b);
                     });
  }
  const uint64_t limit = request.limit() > 0 ? static_cast<uint64_t>(request.limit()) : 0;
  const bool more = limit != 0 && pairs.size() > limit;
  if (more) pairs.resize(limit);
  std::string scratch;
  for (wire::KeyValue& kv : pairs) {
    if (request.keys_only()) {
      kv.value = {};
      // etcd reads the whole pair only where sorting needs the value, and then keeps the lease.
      if (request.sort_target() != RangeRequest::VALUE) kv.lease = 0;
    }
    scratch.clear();
    wire::AppendKeyValue(&scratch, kv);
    wire::AppendBytes(out, 2, scratch);
  }
  AppendMoreAndCount(out, more, count);
}

}  // namespace

Error ResolveRevision(const MvccStore& store, int64_t requested, RangePlace place, int64_t* main) {
  *main = kNewest;
  if (requested == 0 || (requested < 0 && place == RangePlace::kPlain)) return {};
  if (requested > store.current_revision()) return errors::kFutureRev;
  if (requested < store.compact_revision() || requested < 0) return errors::kCompacted;
  *main = requested;
  return {};
}

void EvaluateRange(const MvccStore& store, const RangeRequest& request, int64_t main,
                   std::string* out) {
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  const uint64_t count = store.LiveSumsAt(interval, main).keys;
  if (request.count_only()) return AppendMoreAndCount(out, false, count);
  const uint64_t limit = request.limit() > 0 ? static_cast<uint64_t>(request.limit()) : 0;
  const bool fetch_all = limit == 0 || HasFilters(request) || SortsAll(request);
  const std::vector<RecordRef> refs = store.LiveRefs(interval, main, fetch_all ? 0 : limit + 1);
  if (!IsPlain(request)) return EvaluateSelected(store, request, refs, count, out);
  const bool more = limit != 0 && refs.size() > limit;
  AppendRecords(store, refs, more ? limit : refs.size(), out);
  AppendMoreAndCount(out, more, count);
}

PlainSize SizePlainRange(const MvccStore& store, const RangeRequest& request, int64_t main) {
  if (!IsPlain(request)) return {};
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  const uint64_t limit = request.limit() > 0 ? static_cast<uint64_t>(request.limit()) : UINT64_MAX;
  const LiveSums all = store.LiveSumsAt(interval, main);
  if (all.keys <= limit) return {all.framed_bytes, all.keys, all.keys};
  if (main >= store.current_revision()) {
    const LiveSums before = store.index().Below(interval.begin);
    const LiveSums through = store.index().First(before.keys + limit);
    return {through.framed_bytes - before.framed_bytes, limit, all.keys};
  }
  PlainSize size{0, limit, all.keys};
  for (const RecordRef& ref : store.LiveRefs(interval, main, limit)) {
    size.bytes += wire::FramedBytes(ref.kv_bytes);
  }
  return size;
}

namespace {

// A walk over the plain answer of one request, pinned at one revision.
class PinnedWalk {
 public:
  PinnedWalk(MvccStore* store, const RangeRequest& request, int64_t main)
      : store_(store),
        key_(request.key()),
        range_end_(request.range_end()),
        main_(std::min(main, store->current_revision())),
        resume_(request.key()),
        left_(request.limit() > 0 ? static_cast<uint64_t>(request.limit()) : UINT64_MAX) {
    store_->Pin(main_);
  }
  ~PinnedWalk() { store_->Unpin(main_); }
  PinnedWalk(const PinnedWalk&) = delete;
  PinnedWalk& operator=(const PinnedWalk&) = delete;

  // The next refs: about `bytes_max` of framed bytes, at most `keys_max`, at least one if any.
  std::vector<RecordRef> Next(uint64_t bytes_max, uint64_t keys_max) {
    std::vector<RecordRef> refs;
    if (done_) return refs;
    uint64_t bytes = 0;
    uint32_t steps = 0;
    bool stopped = false;
    const KeyInterval interval = KeyInterval::Of(key_, range_end_);
    store_->index().WalkFrom(resume_, interval, [&](const KeyEntry& entry) {
      if (left_ == 0) return false;
      if (!refs.empty() && (bytes >= bytes_max || refs.size() >= keys_max || ++steps > kSteps)) {
        resume_.assign(entry.key());
        stopped = true;
        return false;
      }
      if (const auto ref = KeyIndex::LiveAt(entry, main_)) {
        refs.push_back(*ref);
        bytes += wire::FramedBytes(ref->kv_bytes);
        --left_;
      }
      return true;
    });
    done_ = !stopped;
    return refs;
  }
  bool done() const { return done_; }
  int64_t main() const { return main_; }

 private:
  static constexpr uint32_t kSteps = 4096;

  MvccStore* const store_;
  const std::string key_;
  const std::string range_end_;
  const int64_t main_;
  std::string resume_;
  uint64_t left_;
  bool done_ = false;
};

// Refs with what the window has of them pinned; the backend gives the rest.
class RecordSlice final : public RangeCursor::Slice {
 public:
  RecordSlice(MvccStore* store, std::string before, std::vector<RecordRef> refs, std::string after)
      : backend_(&store->backend()),
        before_(std::move(before)),
        after_(std::move(after)),
        refs_(std::move(refs)),
        views_(refs_.size()) {
    for (size_t i = 0; i < refs_.size(); ++i) {
      views_[i] = store->window().Find(refs_[i].revision);
      if (!views_[i]) continue;
      std::shared_ptr<const void> pin = store->window().PinOf(refs_[i].revision);
      if (pins_.empty() || pins_.back() != pin) pins_.push_back(std::move(pin));
    }
  }

  absl::StatusOr<std::string> Encode() override {
    std::string out = std::move(before_);
    std::vector<RevisionKey> keys;
    std::vector<std::string_view> key_views;
    for (size_t i = 0; i < refs_.size(); ++i) {
      if (!views_[i]) keys.emplace_back(refs_[i].revision, refs_[i].kind);
    }
    for (const RevisionKey& key : keys) key_views.push_back(key.view());
    std::vector<std::string> fetched(keys.size());
    absl::Status missing;
    absl::Status status = backend_->Read(
        kv::Table::kKey, key_views, [&](size_t i, std::optional<std::string_view> kv) {
          if (!kv) {
            missing = absl::DataLossError("a record is in the index and not in the backend");
          } else {
            fetched[i].assign(*kv);
          }
        });
    if (!status.ok()) return status;
    if (!missing.ok()) return missing;
    size_t next = 0;
    for (const std::optional<std::string_view>& view : views_) {
      wire::AppendBytes(&out, 2, view ? *view : std::string_view(fetched[next++]));
    }
    out += after_;
    return out;
  }

 private:
  const kv::KvBackend* const backend_;
  std::string before_;
  std::string after_;
  const std::vector<RecordRef> refs_;
  std::vector<std::optional<std::string_view>> views_;
  std::vector<std::shared_ptr<const void>> pins_;
};

class PlainRangeCursor final : public RangeCursor {
 public:
  PlainRangeCursor(MvccStore* store, const HeaderFields& header, const RangeRequest& request,
                   int64_t main, const PlainSize& size)
      : store_(store), walk_(store, request, main) {
    wire::AppendHeader(&before_, header, store->current_revision());
    AppendMoreAndCount(&after_, size.keys < size.count, size.count);
    total_ = before_.size() + size.bytes + after_.size();
  }
  uint64_t total_bytes() const override { return total_; }

  std::unique_ptr<Slice> NextSlice(uint64_t max_bytes) override {
    if (ended_) return nullptr;
    std::vector<RecordRef> refs = walk_.Next(max_bytes, UINT64_MAX);
    ended_ = walk_.done();
    return std::make_unique<RecordSlice>(store_, std::exchange(before_, {}), std::move(refs),
                                         ended_ ? after_ : std::string());
  }

 private:
  MvccStore* const store_;
  PinnedWalk walk_;
  std::string before_;
  std::string after_;
  uint64_t total_ = 0;
  bool ended_ = false;
};

// RangeStream: parts of doubling size; header, more and count only in the last (semantics §2).
class PartCursor final : public Engine::RangeStreamCursor {
 public:
  PartCursor(MvccStore* store, const HeaderFields& header, const RangeRequest& request,
             int64_t main, uint64_t target_bytes)
      : store_(store),
        header_(header),
        request_(request),
        main_(main),
        target_bytes_(target_bytes),
        walk_(store, request, main) {
    revision_ = store->current_revision();
    const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
    count_ = store->LiveSumsAt(interval, main).keys;
  }

  std::optional<Reply> Next() override {
    if (ended_) return std::nullopt;
    std::string part;
    std::string last_fields;
    if (request_.count_only() || request_.keys_only()) {
      // Small by nature: one part.
      ended_ = true;
      EvaluateRange(*store_, request_, main_, &last_fields);
    } else {
      const std::vector<RecordRef> refs = walk_.Next(UINT64_MAX, next_keys_);
      AppendRecords(*store_, refs, refs.size(), &part);
      sent_ += refs.size();
      if (part.size() < target_bytes_ / 2) next_keys_ *= 2;
      if (part.size() > target_bytes_ * 2) next_keys_ = std::max<uint64_t>(1, next_keys_ / 2);
      ended_ = walk_.done();
      if (ended_) AppendMoreAndCount(&last_fields, sent_ < count_, count_);
    }
    std::string response;
    if (ended_) wire::AppendHeader(&response, header_, revision_);
    response += part;
    response += last_fields;
    Reply reply;
    wire::AppendBytes(&reply.body, 1, response);
    return reply;
  }

 private:
  MvccStore* const store_;
  const HeaderFields header_;
  const RangeRequest request_;
  const int64_t main_;
  const uint64_t target_bytes_;
  PinnedWalk walk_;
  int64_t revision_ = 0;
  uint64_t count_ = 0;
  uint64_t sent_ = 0;
  uint64_t next_keys_ = 10;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<RangeCursor> MakeRangeCursor(MvccStore* store, const HeaderFields& header,
                                             const RangeRequest& request, int64_t main,
                                             const PlainSize& size) {
  return std::make_unique<PlainRangeCursor>(store, header, request, main, size);
}

std::unique_ptr<Engine::RangeStreamCursor> MakeRangeStreamCursor(MvccStore* store,
                                                                 const HeaderFields& header,
                                                                 const RangeRequest& request,
                                                                 int64_t main,
                                                                 uint64_t target_bytes) {
  return std::make_unique<PartCursor>(store, header, request, main, target_bytes);
}

}  // namespace quorate::engine
