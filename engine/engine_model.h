// EngineModel: what an etcd means, written down as plainly as can be and apart from the engine: all
// changes that ever were in one list, every question answered by looking at all of them. For tests.
//
// The rules are those of etcd 3.7 (wire facts, semantics §1-4, §6, §9-11); ties of a sorted range
// come in key order, which etcd leaves open and we promise (equal entries, equal replies).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/errors.h"
#include "engine/watch/hub.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"

namespace quorate::engine {

class EngineModel {
 public:
  using KeyValue = mvccpb::KeyValue;
  using State = std::map<std::string, KeyValue>;  // live pairs by key

  struct Change {
    int64_t main = 0;
    int64_t sub = 0;
    bool tombstone = false;
    KeyValue kv;  // of a tombstone: the key alone
    // What a watch sees as prev_kv: the live pair before this transaction; none for a creation.
    std::optional<KeyValue> previous;
  };
  // An answer: an error, or a message.
  struct Answer {
    Error error;
    std::string body;  // serialized
  };

  explicit EngineModel(const HeaderFields& header) : header_(header) {}

  Answer Apply(const etcdserverpb::InternalRaftRequest& request);
  // Changes of the last Apply, in order.
  const std::vector<Change>& last_changes() const { return last_changes_; }

  Answer Range(const etcdserverpb::RangeRequest& request) const;
  Answer ReadTxn(const etcdserverpb::TxnRequest& request) const;
  // nullopt: the answer depends on garbage that is not deleted yet (etcd's rule for the case that
  // nothing lives at `revision`).
  enum class Garbage { kMayBeThere, kGone };
  std::optional<Answer> HashKv(int64_t revision, Garbage garbage) const;

  // --- compaction hashes, as the owner of the engine asks for them
  // `garbage`: of the compaction before, when the hash was asked for.
  void KeepCompactionHash(int64_t revision, Garbage garbage);
  void ForgetCompactionHashes() { kept_hashes_.clear(); }
  // The compaction before the one at `revision`; -1 = none.
  int64_t CompactionBefore(int64_t revision) const;

  State At(int64_t main) const;
  int64_t current() const { return current_; }
  int64_t compacted() const { return compacted_; }
  const std::map<int64_t, int64_t>& leases() const { return leases_; }  // id -> granted TTL
  std::set<std::string> KeysOf(int64_t lease) const;
  const std::set<std::pair<int, uint64_t>>& alarms() const { return alarms_; }  // type, member

 private:
  using TxnRequest = etcdserverpb::TxnRequest;
  using Outcomes = std::map<const TxnRequest*, bool>;
  struct Kept {
    int64_t previous = -1;
    std::optional<uint32_t> hash;
  };

  // --- one transaction: `live_` is what its operations see
  void Begin();
  void End();
  int64_t SeenRevision() const { return last_changes_.empty() ? current_ : current_ + 1; }
  void Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  void Delete(const std::string& key, const std::string& end, bool prev_kv,
              etcdserverpb::DeleteRangeResponse* response);
  void DeleteKey(const std::string& key);
  Error CheckPut(const etcdserverpb::PutRequest& request) const;

  bool Holds(const etcdserverpb::Compare& compare) const;
  void Decide(const TxnRequest& request, Outcomes* outcomes) const;
  using Deleted = std::vector<std::pair<std::string, std::string>>;
  Error CheckTxn(const TxnRequest& request, const Outcomes& outcomes, Deleted* deleted) const;
  void RunTxn(const TxnRequest& request, const Outcomes& outcomes,
              etcdserverpb::TxnResponse* response);
  Answer Txn(const TxnRequest& request);

  Answer Compact(int64_t revision);
  Answer Grant(const etcdserverpb::LeaseGrantRequest& request);
  Answer Revoke(int64_t lease);
  Answer Alarm(const etcdserverpb::AlarmRequest& request);
  Error AlarmGate(const etcdserverpb::InternalRaftRequest& request) const;

  enum class Place { kPlain, kTransaction };
  Error ReadableAt(int64_t revision, Place place) const;
  void FillRange(const etcdserverpb::RangeRequest& request, const State& state,
                 etcdserverpb::RangeResponse* response) const;
  const State& StateFor(int64_t revision, State* storage) const;

  enum class Asker { kQuery, kCompaction };
  std::optional<uint32_t> Hash(int64_t revision, int64_t compacted, Asker asker,
                               Garbage garbage) const;
  void FillHeader(etcdserverpb::ResponseHeader* header) const;

  const HeaderFields header_;
  std::vector<Change> changes_;  // everything that ever was
  std::vector<Change> last_changes_;
  State live_;
  State before_;  // the transaction
  int64_t current_ = 1;
  int64_t compacted_ = -1;
  std::set<int64_t> compactions_;
  std::map<int64_t, int64_t> leases_;
  std::set<std::pair<int, uint64_t>> alarms_;
  std::map<int64_t, Kept> kept_hashes_;
};

// etcd's intervals: empty end = the key alone, one zero byte = everything from the key on.
bool ModelContains(const std::string& begin, const std::string& end, const std::string& key);

}  // namespace quorate::engine
