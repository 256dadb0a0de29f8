#include "engine/mvcc/range.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

using etcdserverpb::RangeRequest;

constexpr uint32_t kKvsField = 2;
constexpr uint32_t kMoreField = 3;
constexpr uint32_t kCountField = 4;

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

uint64_t LimitOf(const RangeRequest& request) {
  return request.limit() > 0 ? static_cast<uint64_t>(request.limit()) : UINT64_MAX;
}

// A record on its way into the answer. At the current revision the index knows all of it but the
// value; of the past it knows where the record is, and what else is needed must be read.
struct Candidate {
  RecordRef ref;
  wire::KeyValue kv;   // views into the index or into `stored`
  std::string stored;  // the encoded pair, when it was read
};

void TakeStored(Candidate* candidate, std::string_view bytes) {
  candidate->stored.assign(bytes);
  const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(candidate->stored);
  QR_CHECK(kv);
  candidate->kv = *kv;
}

class Selection {
 public:
  Selection(const MvccStore& store, const RangeRequest& request, int64_t main)
      : store_(store),
        request_(request),
        main_(main),
        current_(main >= store.TransactionRevision()) {}

  void Evaluate(uint64_t count, std::string* out) {
    Collect();
    chosen_.reserve(candidates_.size());
    for (Candidate& candidate : candidates_) chosen_.push_back(&candidate);
    if (NeedsStoredToChoose()) ReadStored();
    if (HasFilters(request_)) {
      std::erase_if(chosen_, [this](const Candidate* c) { return !PassesFilters(*c); });
    }
    if (SortsFetched(request_)) Sort();
    const bool more = chosen_.size() > LimitOf(request_);
    if (more) chosen_.resize(LimitOf(request_));
    if (!request_.keys_only() || !current_) ReadStored();
    Emit(out);
    AppendMoreAndCount(more, count, out);
  }

 private:
  void Collect() {
    const uint64_t limit = LimitOf(request_);
    const bool fetch_all = limit == UINT64_MAX || HasFilters(request_) || SortsAll(request_);
    store_.index().Walk(KeyInterval::Of(request_.key(), request_.range_end()),
                        [&](const KeyEntry& entry) {
                          const std::optional<RecordRef> ref = entry.LiveAt(main_);
                          if (!ref) return true;
                          Candidate& candidate = candidates_.emplace_back();
                          candidate.ref = *ref;
                          candidate.kv = {.key = entry.key(), .mod_revision = ref->revision.main};
                          if (current_) {
                            candidate.kv.create_revision = entry.create_revision;
                            candidate.kv.version = entry.version;
                            candidate.kv.lease = entry.lease;
                          }
                          // One more than asked for tells whether there is more.
                          return fetch_all || candidates_.size() <= limit;
                        });
  }

  bool NeedsStoredToChoose() const {
    if (SortsFetched(request_) && request_.sort_target() == RangeRequest::VALUE) return true;
    const bool by_create = request_.min_create_revision() != 0 ||
                           request_.max_create_revision() != 0 ||
                           request_.sort_target() == RangeRequest::CREATE;
    return !current_ && (by_create || request_.sort_target() == RangeRequest::VERSION);
  }

  void ReadStored() {
    std::vector<RecordRef> refs;
    std::vector<Candidate*> missing;
    for (Candidate* candidate : chosen_) {
      if (!candidate->stored.empty()) continue;
      refs.push_back(candidate->ref);
      missing.push_back(candidate);
    }
    store_.ReadAll(refs, [&](size_t i, std::string_view kv) { TakeStored(missing[i], kv); });
  }

  bool PassesFilters(const Candidate& candidate) const {
    const auto inside = [](int64_t value, int64_t min, int64_t max) {
      return (min == 0 || value >= min) && (max == 0 || value <= max);
    };
    return inside(candidate.kv.mod_revision, request_.min_mod_revision(),
                  request_.max_mod_revision()) &&
           inside(candidate.kv.create_revision, request_.min_create_revision(),
                  request_.max_create_revision());
  }

  bool Less(const Candidate& a, const Candidate& b) const {
    switch (request_.sort_target()) {
      case RangeRequest::VERSION:
        return a.kv.version < b.kv.version;
      case RangeRequest::CREATE:
        return a.kv.create_revision < b.kv.create_revision;
      case RangeRequest::MOD:
        return a.kv.mod_revision < b.kv.mod_revision;
      case RangeRequest::VALUE:
        return a.kv.value < b.kv.value;
      default:
        return a.kv.key < b.kv.key;
    }
  }

  void Sort() {
    const bool descend = request_.sort_order() == RangeRequest::DESCEND;
    std::stable_sort(chosen_.begin(), chosen_.end(), [&](const Candidate* a, const Candidate* b) {
      return descend ? Less(*b, *a) : Less(*a, *b);
    });
  }

  void Emit(std::string* out) {
    std::string scratch;
    for (const Candidate* candidate : chosen_) {
      if (!request_.keys_only()) {
        wire::AppendBytes(out, kKvsField, candidate->stored);
        continue;
      }
      wire::KeyValue kv = candidate->kv;
      kv.value = {};
      // etcd reads the whole pair only where sorting needs the value, and then keeps the lease.
      if (request_.sort_target() != RangeRequest::VALUE) kv.lease = 0;
      scratch.clear();
      wire::AppendKeyValue(&scratch, kv);
      wire::AppendBytes(out, kKvsField, scratch);
    }
  }

  const MvccStore& store_;
  const RangeRequest& request_;
  const int64_t main_;
  const bool current_;
  std::vector<Candidate> candidates_;  // as fetched; not moved after Collect
  std::vector<Candidate*> chosen_;     // of them, what is left, in order
};

}  // namespace

Error ResolveRevision(const MvccStore& store, int64_t requested, RangePlace place, int64_t* main) {
  *main = kNewest;
  if (requested == 0) return {};
  if (requested < 0 && place == RangePlace::kPlain) return {};
  if (requested > store.current_revision()) return errors::kFutureRev;
  if (requested < store.compact_revision()) return errors::kCompacted;
  if (requested > 0) *main = requested;
  return {};
}

bool IsPlainRange(const RangeRequest& request) {
  return !HasFilters(request) && !SortsFetched(request) && !request.keys_only() &&
         !request.count_only();
}

void AppendMoreAndCount(bool more, uint64_t count, std::string* out) {
  wire::AppendUint(out, kMoreField, more ? 1 : 0);
  wire::AppendUint(out, kCountField, count);
}

void AppendRecords(const MvccStore& store, std::span<const RecordRef> refs, Values values,
                   std::string* out) {
  std::string scratch;
  store.ReadAll(refs, [&](size_t, std::string_view stored) {
    if (values == Values::kKeep) return wire::AppendBytes(out, kKvsField, stored);
    wire::KeyValue kv = *wire::ParseKeyValue(stored);
    kv.value = {};
    kv.lease = 0;
    scratch.clear();
    wire::AppendKeyValue(&scratch, kv);
    wire::AppendBytes(out, kKvsField, scratch);
  });
}

PlainSize SizePlainRange(const MvccStore& store, const RangeRequest& request, int64_t main) {
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  const LiveSums all = store.index().SumsAt(interval, main);
  const uint64_t limit = LimitOf(request);
  if (all.keys <= limit) return {all.framed_bytes, all.keys, all.keys};
  return {store.index().FirstAt(interval, main, limit).framed_bytes, limit, all.keys};
}

void AppendPlainRange(const MvccStore& store, const RangeRequest& request, int64_t main,
                      const PlainSize& size, std::string* out) {
  if (size.keys != 0) {
    const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
    out->reserve(out->size() + size.bytes + 16);
    AppendRecords(store, store.LiveRefs(interval, main, size.keys), Values::kKeep, out);
  }
  AppendMoreAndCount(size.more(), size.count, out);
}

std::optional<RecordRef> FindSingle(const MvccStore& store, std::string_view key, int64_t main) {
  const KeyEntry* entry = store.index().Find(key);
  return entry == nullptr ? std::nullopt : entry->LiveAt(main);
}

void AppendSingle(const MvccStore& store, const std::optional<RecordRef>& ref, std::string* out) {
  if (!ref) return;
  out->reserve(out->size() + FramedKvBytes(ref->kv_bytes) + 2);
  AppendRecords(store, {&*ref, 1}, Values::kKeep, out);
  AppendMoreAndCount(/*more=*/false, 1, out);
}

void EvaluateRange(const MvccStore& store, const RangeRequest& request, int64_t main,
                   std::string* out) {
  if (IsPlainRange(request) && request.range_end().empty()) {
    return AppendSingle(store, FindSingle(store, request.key(), main), out);
  }
  if (IsPlainRange(request)) {
    return AppendPlainRange(store, request, main, SizePlainRange(store, request, main), out);
  }
  const KeyInterval interval = KeyInterval::Of(request.key(), request.range_end());
  const uint64_t count = store.index().SumsAt(interval, main).keys;
  if (request.count_only()) return AppendMoreAndCount(/*more=*/false, count, out);
  Selection(store, request, main).Evaluate(count, out);
}

}  // namespace quorate::engine
