// Reads of the applied state.
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "engine/engine_impl.h"
#include "engine/mvcc/range.h"
#include "engine/mvcc/range_cursor.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

Reply Unreadable(const absl::Status& status) {
  return {{static_cast<int>(status.code()), std::string(status.message())}, {}};
}

}  // namespace

std::variant<Reply, std::unique_ptr<RangeCursor>> EngineImpl::Range(
    const etcdserverpb::RangeRequest& request) {
  ++counters_.ranges;
  int64_t main;
  if (Error error = ResolveRevision(store_, request.revision(), RangePlace::kPlain, &main);
      !error.ok()) {
    return Reply{error, {}};
  }
  Reply reply;
  wire::AppendHeader(&reply.body, header_, store_.current_revision());
  if (!IsPlainRange(request)) {
    EvaluateRange(store_, request, main, &reply.body);
    return reply;
  }
  PlainSize size;
  std::optional<RecordRef> single;
  if (request.range_end().empty()) {
    single = FindSingle(store_, request.key(), main);
    if (single) size = {FramedKvBytes(single->kv_bytes), 1, 1};
  } else {
    size = SizePlainRange(store_, request, main);
  }
  if (size.bytes > options_.range_inline_bytes) {
    return MakeRangeCursor(&store_, header_, request, main, size, options_.range_slice_keys);
  }
  if (request.range_end().empty()) {
    AppendSingle(store_, single, &reply.body);
  } else {
    AppendPlainRange(store_, request, main, size, &reply.body);
  }
  return reply;
}

std::variant<Reply, std::unique_ptr<Engine::RangeStreamCursor>> EngineImpl::RangeStream(
    const etcdserverpb::RangeRequest& request) {
  ++counters_.ranges;
  int64_t main;
  if (Error error = ResolveRevision(store_, request.revision(), RangePlace::kPlain, &main);
      !error.ok()) {
    return Reply{error, {}};
  }
  return MakeRangeStreamCursor(&store_, header_, request, main, options_.request_bytes_max);
}

Reply EngineImpl::ReadTxn(const etcdserverpb::TxnRequest& request) {
  QR_CHECK(IsReadOnlyTxn(request));
  ++counters_.txns;
  TxnRunner runner(&store_, &lessor_);
  runner.Decide(request);
  if (Error error = runner.Check(request); !error.ok()) return {error, {}};
  Reply reply{{}, Body()};
  runner.Run(request, &reply.body);
  return reply;
}

std::variant<Reply, std::unique_ptr<ReadJob>> EngineImpl::HashKv(int64_t revision) {
  if (const std::optional<KvHash> kept = kept_hashes_.Find(revision)) {
    return Reply{{}, EncodeHashKvResponse(header_, store_.current_revision(), *kept)};
  }
  // As etcd has it: a negative revision is no error, and nothing lies below it.
  const int64_t main = revision == 0 ? store_.current_revision() : revision;
  if (main > store_.current_revision()) return Reply{errors::kFutureRev, {}};
  if (main > 0 && main < store_.compact_revision()) return Reply{errors::kCompacted, {}};
  absl::StatusOr<std::unique_ptr<HistoryReader>> history = store_.NewHistoryReader();
  if (!history.ok()) return Unreadable(history.status());
  return MakeHashKvJob(header_, store_.current_revision(),
                       {.hash_revision = main, .compact_revision = store_.compact_revision()},
                       *std::move(history));
}

std::variant<Reply, std::unique_ptr<ReadJob>> EngineImpl::Hash() {
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> snapshot = store_.backend().NewSnapshot();
  if (!snapshot.ok()) return Unreadable(snapshot.status());
  return MakeHashJob(header_, store_.current_revision(), *std::move(snapshot),
                     store_.window().Chunks());
}

std::unique_ptr<CompactionHash> EngineImpl::TakeCompactionHash() {
  const std::optional<MvccStore::Compaction> next = store_.NextCompaction();
  // A compaction at 0 frees nothing, and a kept hash of revision 0 would be taken for the answer to
  // "now" (etcd's quirk, left out).
  if (!next || next->revision <= 0 || !kept_hashes_.Begin(next->revision)) return nullptr;
  absl::StatusOr<std::unique_ptr<HistoryReader>> history = store_.NewHistoryReader();
  if (!history.ok()) return nullptr;  // a hash the less; the compaction itself needs none
  return MakeCompactionHash({.hash_revision = next->revision, .compact_revision = next->previous},
                            *std::move(history));
}

void EngineImpl::KeepCompactionHash(std::unique_ptr<CompactionHash> done) {
  if (const std::optional<KvHash> hash = HashOf(*done)) kept_hashes_.Keep(*hash);
}

std::vector<Engine::KeptHash> EngineImpl::compaction_hashes() const {
  std::vector<KeptHash> hashes;
  for (const KvHash& kept : kept_hashes_.all()) {
    hashes.insert(hashes.begin(), {kept.hash_revision, kept.compact_revision, kept.hash});
  }
  return hashes;
}

std::optional<RecordRef> EngineImpl::LiveBefore(std::string_view key, int64_t before_main) const {
  if (before_main - 1 < store_.compact_revision()) return std::nullopt;
  const KeyEntry* entry = store_.index().Find(key);
  return entry == nullptr ? std::nullopt : entry->LiveAt(before_main - 1);
}

const Engine::Counters& EngineImpl::counters() const {
  counters_.put_bytes = store_.put_bytes();
  counters_.compacted_keys = store_.compacted_keys();
  return counters_;
}

}  // namespace quorate::engine
