#include "engine/mvcc/range_cursor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

using etcdserverpb::RangeRequest;

constexpr uint32_t kKvsField = 2;
constexpr uint64_t kFirstPartKeys = 10;  // etcd's

// A walk over the records of one plain answer, pinned at one revision.
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

  // The next records: one or more until `bytes_max` framed bytes or `keys_max` keys are reached.
  // Empty only at the end.
  std::vector<RecordRef> Next(uint64_t bytes_max, uint64_t keys_max) {
    std::vector<RecordRef> refs;
    uint64_t bytes = 0;
    bool stopped = false;
    store_->index().WalkFrom(
        resume_, KeyInterval::Of(key_, range_end_), [&](const KeyEntry& entry) {
          const std::optional<RecordRef> ref = entry.LiveAt(main_);
          if (!ref) return true;
          if (left_ == 0) return false;
          if (!refs.empty() && (bytes >= bytes_max || refs.size() >= keys_max)) {
            resume_.assign(entry.key());
            stopped = true;
            return false;
          }
          refs.push_back(*ref);
          bytes += FramedKvBytes(ref->kv_bytes);
          --left_;
          return true;
        });
    done_ = !stopped;
    return refs;
  }
  bool done() const { return done_; }

 private:
  MvccStore* const store_;
  const std::string key_;
  const std::string range_end_;
  const int64_t main_;
  std::string resume_;
  uint64_t left_;
  bool done_ = false;
};

// Records of which the window's are pinned; the backend gives the rest.
class RecordSlice final : public RangeCursor::Slice {
 public:
  RecordSlice(MvccStore* store, std::string before, const std::vector<RecordRef>& refs,
              std::string after)
      : backend_(&store->backend()), before_(std::move(before)), after_(std::move(after)) {
    records_.reserve(refs.size());
    for (const RecordRef& ref : refs) {
      records_.push_back({ref, {}});
      const std::optional<Window::Found> found = store->window().Find(ref.revision);
      if (!found) continue;
      records_.back().kv = found->kv;
      if (pins_.empty() || pins_.back() != *found->chunk) pins_.push_back(*found->chunk);
    }
  }

  absl::StatusOr<std::string> Encode() override {
    uint64_t bytes = before_.size() + after_.size();
    for (const Record& record : records_) bytes += FramedKvBytes(record.ref.kv_bytes);
    std::string out;
    out.reserve(bytes);
    out += before_;
    for (size_t i = 0; i < records_.size();) {
      if (!records_[i].kv.empty()) {
        wire::AppendBytes(&out, kKvsField, records_[i++].kv);
        continue;
      }
      size_t end = i;
      while (end < records_.size() && records_[end].kv.empty()) ++end;
      if (absl::Status status = AppendFromBackend(i, end, &out); !status.ok()) return status;
      i = end;
    }
    out += after_;
    return out;
  }

 private:
  struct Record {
    RecordRef ref;
    std::string_view kv;  // empty: ask the backend (a stored pair is never empty)
  };

  absl::Status AppendFromBackend(size_t begin, size_t end, std::string* out) const {
    std::vector<RevisionKey> keys;
    std::vector<std::string_view> views;
    keys.reserve(end - begin);
    for (size_t i = begin; i < end; ++i) {
      keys.emplace_back(records_[i].ref.revision, records_[i].ref.kind);
    }
    for (const RevisionKey& key : keys) views.push_back(key.view());
    absl::Status damage;
    absl::Status status =
        backend_->Read(kv::Table::kKey, views, [&](size_t i, std::optional<std::string_view> kv) {
          const RecordRef& ref = records_[begin + i].ref;
          if (kv && kv->size() == ref.kv_bytes) {
            wire::AppendBytes(out, kKvsField, *kv);
          } else {
            damage = absl::DataLossError(StrCat("table key: the record of revision ",
                                                ref.revision.main, ".", ref.revision.sub,
                                                kv ? " has another size" : " is gone"));
          }
        });
    return status.ok() ? damage : status;
  }

  const kv::KvBackend* const backend_;
  const std::string before_;
  const std::string after_;
  std::vector<Record> records_;
  std::vector<std::shared_ptr<const WindowChunk>> pins_;
};

class PlainRangeCursor final : public RangeCursor {
 public:
  PlainRangeCursor(MvccStore* store, const HeaderFields& header, const RangeRequest& request,
                   int64_t main, const PlainSize& size, uint32_t slice_keys_max)
      : store_(store), walk_(store, request, main), slice_keys_max_(slice_keys_max) {
    wire::AppendHeader(&before_, header, store->current_revision());
    AppendMoreAndCount(size.more(), size.count, &after_);
    total_ = before_.size() + size.bytes + after_.size();
  }
  uint64_t total_bytes() const override { return total_; }

  std::unique_ptr<Slice> NextSlice(uint64_t max_bytes) override {
    if (ended_) return nullptr;
    const std::vector<RecordRef> refs = walk_.Next(max_bytes, slice_keys_max_);
    ended_ = walk_.done();
    return std::make_unique<RecordSlice>(store_, std::exchange(before_, {}), refs,
                                         ended_ ? after_ : std::string());
  }

 private:
  MvccStore* const store_;
  PinnedWalk walk_;
  const uint32_t slice_keys_max_;
  std::string before_;
  std::string after_;
  uint64_t total_ = 0;
  bool ended_ = false;
};

// RangeStream: parts near a target size; header, more and count only in the last (semantics §2).
class PartCursor final : public Engine::RangeStreamCursor {
 public:
  PartCursor(MvccStore* store, const HeaderFields& header, const RangeRequest& request,
             int64_t main, uint64_t part_bytes_target)
      : store_(store),
        header_(header),
        values_(request.keys_only() ? Values::kDrop : Values::kKeep),
        count_only_(request.count_only()),
        part_bytes_target_(part_bytes_target),
        revision_(store->current_revision()),
        count_(
            store->index().SumsAt(KeyInterval::Of(request.key(), request.range_end()), main).keys),
        walk_(store, request, main) {}

  std::optional<Reply> Next() override {
    if (ended_) return std::nullopt;
    std::string records;
    ended_ = count_only_;
    if (!count_only_) {
      const std::vector<RecordRef> refs = walk_.Next(UINT64_MAX, part_keys_);
      AppendRecords(*store_, refs, values_, &records);
      sent_ += refs.size();
      if (records.size() < part_bytes_target_ / 2) {
        part_keys_ *= 2;
      } else if (records.size() > part_bytes_target_ * 2) {
        part_keys_ = std::max<uint64_t>(1, part_keys_ / 2);
      }
      ended_ = walk_.done();
    }
    std::string response;
    if (ended_) wire::AppendHeader(&response, header_, revision_);
    response += records;
    if (ended_) AppendMoreAndCount(!count_only_ && sent_ < count_, count_, &response);
    Reply reply;
    wire::AppendBytes(&reply.body, 1, response);
    return reply;
  }

 private:
  MvccStore* const store_;
  const HeaderFields header_;
  const Values values_;
  const bool count_only_;
  const uint64_t part_bytes_target_;
  const int64_t revision_;
  const uint64_t count_;
  PinnedWalk walk_;
  uint64_t sent_ = 0;
  uint64_t part_keys_ = kFirstPartKeys;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<RangeCursor> MakeRangeCursor(MvccStore* store, const HeaderFields& header,
                                             const RangeRequest& request, int64_t main,
                                             const PlainSize& size, uint32_t slice_keys_max) {
  return std::make_unique<PlainRangeCursor>(store, header, request, main, size, slice_keys_max);
}

std::unique_ptr<Engine::RangeStreamCursor> MakeRangeStreamCursor(MvccStore* store,
                                                                 const HeaderFields& header,
                                                                 const RangeRequest& request,
                                                                 int64_t main,
                                                                 uint64_t part_bytes_target) {
  return std::make_unique<PartCursor>(store, header, request, main, part_bytes_target);
}

}  // namespace quorate::engine
