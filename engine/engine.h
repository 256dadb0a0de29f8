// Engine: what an etcd means. Applies committed entries to the multi-version store, the lessor and
// the small tables; answers reads from index, revision window and backend. Pure: equal entries give
// equal state, replies and events on every member; no threads, clock or randomness of its own.
//
// Applied changes live in the revision window until the backend has them (Sealed chunks -> backend
// writer -> Flushed), so Apply never waits for a backend; it only reads from it.
// Replica thread only, except where a method says worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"
#include "base/allocator.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "engine/errors.h"
#include "engine/lease/lessor.h"
#include "engine/mvcc/record.h"
#include "engine/watch/hub.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"

namespace quorate::engine {

class AuthStore;
class SimpleTokens;

struct EngineOptions {
  Allocator* allocator = nullptr;          // window chunks and index nodes
  uint64_t chunk_bytes = 1 << 20;          // a chunk is sealed at the entry that fills it
  uint64_t window_bytes_max = 256 << 20;   // sealed and unflushed beyond this: back-pressure
  uint64_t range_inline_bytes = 64 << 10;  // answers up to this are built at once
  uint32_t range_slice_keys = 1024;        // index steps per slice of a large range
  uint64_t request_bytes_max = 1'572'864;  // steers RangeStream's chunk sizes
  uint32_t txn_ops_max = 128;
  uint32_t learners_max = 1;  // --max-learners
  Lessor::Options lessor;
  int64_t simple_token_ttl_ns = int64_t{300} * 1'000'000'000;  // --auth-token-ttl
};

// An answer ready for the wire: `error`, or `body` = the encoded response message with header.
struct Reply {
  Error error;
  std::string body;
};

// A large range, answered in pieces. The replica thread collects a slice of refs from the index
// (cheap), any worker turns it into bytes. Pinned at one revision: compaction waits for it.
class RangeCursor {
 public:
  virtual ~RangeCursor() = default;  // replica thread; releases the pin
  // Exact size of the whole encoded RangeResponse, known before the first piece.
  virtual uint64_t total_bytes() const = 0;

  class Slice {
   public:
    virtual ~Slice() = default;
    // Worker thread. The next bytes of the response message.
    virtual absl::StatusOr<std::string> Encode() = 0;
  };
  // Replica thread. The next slice of about `max_bytes`, in order; null after the last one.
  virtual std::unique_ptr<Slice> NextSlice(uint64_t max_bytes) = 0;
};

// A long read that runs on a worker over pinned state and ends in one reply (HashKV, Hash).
class ReadJob {
 public:
  virtual ~ReadJob() = default;
  virtual Reply Run() = 0;  // worker thread, once
};

// What goes to the backend in one atomic batch: the records and table changes of whole entries.
class FlushChunk {
 public:
  virtual ~FlushChunk() = default;
  virtual std::span<const kv::WriteOp> ops() const = 0;  // any thread
  virtual uint64_t sequence() const = 0;                 // 1, 2, 3, ... in flush order
  virtual LogIndex applied_index() const = 0;            // meta consistent_index in `ops`
  virtual uint64_t bytes() const = 0;
};

// A downgrade of the cluster that is under way.
struct DowngradeInfo {
  bool enabled = false;
  std::string target_version;  // "3.6.0"; empty when not enabled
};

// etcd keeps the hash of each of the last ten compactions, made of the history as it was before:
// HashKv of such a revision answers it.
class CompactionHash {
 public:
  virtual ~CompactionHash() = default;
  virtual int64_t revision() const = 0;  // of the compaction
  virtual void Run() = 0;                // worker thread, once
};

class Engine {
 public:
  // Rebuilds index, leases and tables from the backend. `progress` is called now and then with the
  // number of records read. kDataLoss names the table and key of a record that cannot be read.
  static absl::StatusOr<std::unique_ptr<Engine>> Open(
      const EngineOptions& options, const kv::KvBackend* backend,
      absl::FunctionRef<void(uint64_t records)> progress);
  virtual ~Engine() = default;

  // --- checks before proposing (errors.tsv: empty key, both ignore flags, duplicate keys, ...).
  // Stateless; any thread.
  static Error CheckRange(const etcdserverpb::RangeRequest& request);
  static Error CheckRangeStream(const etcdserverpb::RangeRequest& request);
  static Error CheckPut(const etcdserverpb::PutRequest& request);
  static Error CheckDeleteRange(const etcdserverpb::DeleteRangeRequest& request);
  static Error CheckTxn(const etcdserverpb::TxnRequest& request, uint32_t txn_ops_max);
  // Only ranges at top level of both branches: answered by ReadTxn without the log.
  static bool IsReadOnlyTxn(const etcdserverpb::TxnRequest& request);
  static bool IsSerializableTxn(const etcdserverpb::TxnRequest& request);
  // What a request costs against the quota (semantics §10); 0 for requests that are never refused.
  static uint64_t QuotaCost(const etcdserverpb::InternalRaftRequest& request);

  // --- entries
  enum class Answer { kWanted, kNotWanted };  // kNotWanted: nobody here waits, skip encoding
  // Applies entry applied_index()+1. Every check is made before the first change; an error changes
  // nothing but the applied index. Entries with bad bytes are kDataLoss replies.
  virtual Reply Apply(const Entry& entry, Answer answer) = 0;
  virtual LogIndex applied_index() const = 0;
  // Batches of the entries applied since the last call, one per main revision, in order.
  virtual std::vector<EventBatchPtr> TakeEvents() = 0;

  // --- who answers; set at start and when the term moves
  virtual void SetHeader(const HeaderFields& header) = 0;
  virtual const HeaderFields& header() const = 0;

  // --- reads at the applied state
  // A Reply when small, a cursor when large.
  virtual std::variant<Reply, std::unique_ptr<RangeCursor>> Range(
      const etcdserverpb::RangeRequest& request) = 0;
  // RangeStream's parts, each one encoded RangeStreamResponse: the next one after `position` (an
  // opaque cursor kept by the caller). Empty body and finished after the last.
  class RangeStreamCursor {
   public:
    virtual ~RangeStreamCursor() = default;
    virtual std::optional<Reply> Next() = 0;  // nullopt after the last part
  };
  virtual std::variant<Reply, std::unique_ptr<RangeStreamCursor>> RangeStream(
      const etcdserverpb::RangeRequest& request) = 0;
  virtual Reply ReadTxn(const etcdserverpb::TxnRequest& request) = 0;
  virtual std::variant<Reply, std::unique_ptr<ReadJob>> HashKv(int64_t revision) = 0;
  virtual std::variant<Reply, std::unique_ptr<ReadJob>> Hash() = 0;
  // The backend's error when it has no snapshot to give just now.
  virtual absl::StatusOr<std::unique_ptr<HistoryReader>> NewHistoryReader() = 0;
  virtual const WatchStore& watch_store() const = 0;
  virtual WatchStore* mutable_watch_store() = 0;

  // --- compaction: applied logically at once, done physically in slices
  virtual bool CompactionPending() const = 0;
  // Up to `steps` keys of the index; appends the deletions to the window. True = more to do.
  virtual bool CompactSlice(uint32_t steps) = 0;
  // The hash of the compaction that CompactSlice would begin next, to be run by a worker and handed
  // back; deletions need not wait for it. Null when there is none, or its deletions have begun, or
  // the backend has no snapshot to give.
  // Optional: an owner that never asks has compactions without a kept hash.
  virtual std::unique_ptr<CompactionHash> TakeCompactionHash() = 0;
  virtual void KeepCompactionHash(std::unique_ptr<CompactionHash> done) = 0;
  // Those that are kept, the newest first.
  struct KeptHash {
    int64_t revision = 0;
    int64_t compact_revision = 0;  // of the compaction before
    uint32_t hash = 0;
  };
  virtual std::vector<KeptHash> compaction_hashes() const = 0;
  // The newest compaction whose deletions are all flushed (for physical=true); -1 = none yet.
  virtual int64_t PhysicallyCompacted() const = 0;

  // --- flushing
  enum class Seal { kFullOnly, kNow };  // kNow also takes the chunk that is being filled
  virtual std::vector<std::shared_ptr<const FlushChunk>> TakeSealed(Seal seal) = 0;
  virtual void Flushed(uint64_t sequence) = 0;
  virtual uint64_t WindowBytes() const = 0;
  virtual bool WindowFull() const = 0;  // stop applying until something was flushed

  // --- the rest of the state
  virtual Lessor& lessor() = 0;
  virtual const AuthStore& auth() const = 0;  // engine/auth/auth_store.h
  virtual SimpleTokens& simple_tokens() = 0;  // engine/auth/simple_tokens.h
  virtual int64_t current_revision() const = 0;
  virtual int64_t compact_revision() const = 0;  // -1 = never
  virtual uint64_t live_keys() const = 0;
  virtual std::vector<etcdserverpb::AlarmMember> alarms() const = 0;
  virtual bool HasAlarm(etcdserverpb::AlarmType type) const = 0;
  // Members as known from applied entries (configuration changes, attributes), by id.
  virtual std::vector<etcdserverpb::Member> members() const = 0;
  virtual bool WasRemoved(MemberId member) const = 0;  // ids never come back
  virtual std::vector<MemberId> removed_members() const = 0;
  virtual std::string cluster_version() const = 0;  // "3.7.0", empty = not decided
  virtual DowngradeInfo downgrade() const = 0;

  struct Counters {
    uint64_t puts = 0, deletes = 0, ranges = 0, txns = 0, events = 0, put_bytes = 0;
    uint64_t compacted_keys = 0;
  };
  virtual const Counters& counters() const = 0;
  // Whether a cursor that it gave out is still alive: an engine is not destroyed before.
  virtual bool HasReaders() const = 0;
};

}  // namespace quorate::engine
