// Reads of the applied state.

#include <utility>

#include "base/check.h"
#include "engine/engine_impl.h"
#include "engine/mvcc/hash.h"
#include "engine/mvcc/range.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {

std::variant<Reply, std::unique_ptr<RangeCursor>> EngineImpl::Range(
    const etcdserverpb::RangeRequest& request) {
  ++counters_.ranges;
  int64_t main;
  if (Error error = ResolveRevision(store_, request.revision(), RangePlace::kPlain, &main);
      !error.ok()) {
    return Reply{error, {}};
  }
  const PlainSize size = SizePlainRange(store_, request, main);
  if (size.bytes > options_.range_inline_bytes) {
    return MakeRangeCursor(&store_, header_, request, main, size);
  }
  Reply reply;
  wire::AppendHeader(&reply.body, header_, store_.current_revision());
  EvaluateRange(store_, request, main, &reply.body);
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
  ++counters_.txns;
  TxnRunner runner(&store_, &lessor_);
  runner.Decide(request);
  if (Error error = runner.Check(request); !error.ok()) return {error, {}};
  Reply reply;
  wire::AppendHeader(&reply.body, header_, store_.current_revision());
  runner.Run(request, &reply.body);
  return reply;
}

std::variant<Reply, std::unique_ptr<ReadJob>> EngineImpl::HashKv(int64_t revision) {
  const int64_t main = revision == 0 ? store_.current_revision() : revision;
  if (main > store_.current_revision()) return Reply{errors::kFutureRev, {}};
  if (main < store_.compact_revision()) return Reply{errors::kCompacted, {}};
  HashKvInput input;
  input.header = header_;
  input.current_revision = store_.current_revision();
  input.hash_revision = main;
  input.compact_revision = store_.compact_revision();
  input.history = store_.NewHistoryReader();
  return MakeHashKvJob(std::move(input));
}

std::unique_ptr<ReadJob> EngineImpl::Hash() {
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> snapshot = store_.backend().NewSnapshot();
  QR_CHECK_MSG(snapshot.ok(), "the backend gives no snapshot");
  return MakeHashJob(header_, store_.current_revision(), *std::move(snapshot),
                     store_.window().Chunks());
}

std::optional<RecordRef> EngineImpl::LiveBefore(std::string_view key, int64_t before_main) const {
  if (before_main - 1 < store_.compact_revision()) return std::nullopt;
  const KeyEntry* entry = store_.index().Find(key);
  if (entry == nullptr) return std::nullopt;
  return KeyIndex::LiveAt(*entry, before_main - 1);
}

const Engine::Counters& EngineImpl::counters() const {
  counters_.put_bytes = store_.put_bytes();
  counters_.compacted_keys = store_.compacted_keys();
  return counters_;
}

}  // namespace quorate::engine
