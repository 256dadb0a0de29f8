// StoreModel: what an etcd means, said a second time. It applies committed log entries to a plain
// map of version chains and keeps every revision for good, so that any answer that a client got can
// be computed again. Written from the API's rules alone (etcd's API reference, KV and Lease); it
// shares no code with the engine that it judges.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"

namespace quorate::sim {

class StoreModel {
 public:
  struct Answer {
    int error_code = 0;  // gRPC's; 0 = applied
    etcdserverpb::ResponseOp response;
    int64_t revision = 0;  // of the header
    bool modified = false;
  };
  struct Change {
    std::string key;
    std::optional<mvccpb::KeyValue> value;     // nullopt = deleted
    std::optional<mvccpb::KeyValue> previous;  // as it was before this revision
  };
  struct Lease {
    int64_t ttl_seconds = 0;  // as granted
  };

  // The least TTL that the servers grant.
  explicit StoreModel(int64_t ttl_min_seconds) : ttl_min_seconds_(ttl_min_seconds) {}

  Answer Apply(const etcdserverpb::InternalRaftRequest& request);

  int64_t revision() const { return revision_; }
  int64_t compacted() const { return compacted_; }  // 0 = never
  const std::map<int64_t, Lease>& leases() const { return leases_; }

  // The range as it was at `revision`, whether compacted since or not.
  etcdserverpb::RangeResponse RangeAt(const etcdserverpb::RangeRequest& request,
                                      int64_t revision) const;
  // A transaction of ranges only, as it was at `revision`.
  etcdserverpb::TxnResponse ReadTxnAt(const etcdserverpb::TxnRequest& request,
                                      int64_t revision) const;
  // All changes of one revision, in order; 2 <= revision <= revision().
  const std::vector<Change>& ChangesOf(int64_t revision) const;
  size_t KeysAt(int64_t revision) const;

 private:
  struct Version {
    int64_t revision;
    std::optional<mvccpb::KeyValue> value;
  };
  using Chain = std::vector<Version>;
  using Steps = google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>;

  const mvccpb::KeyValue* Find(std::string_view key, int64_t revision) const;
  std::vector<const mvccpb::KeyValue*> FindRange(const std::string& key,
                                                 const std::string& range_end,
                                                 int64_t revision) const;
  bool Holds(const etcdserverpb::Compare& compare, int64_t revision) const;
  bool AllHold(const etcdserverpb::TxnRequest& request, int64_t revision) const;
  // An error that the chosen steps of a transaction would meet; 0 = none.
  int CheckSteps(const Steps& steps) const;
  void RunStep(const etcdserverpb::RequestOp& step, etcdserverpb::ResponseOp* response);
  void RunTxn(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse* response);
  void Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  void Delete(const etcdserverpb::DeleteRangeRequest& request,
              etcdserverpb::DeleteRangeResponse* response);
  void Write(const std::string& key, std::optional<mvccpb::KeyValue> value);
  int Grant(const etcdserverpb::LeaseGrantRequest& request);
  int Revoke(const etcdserverpb::LeaseRevokeRequest& request);
  int Compact(const etcdserverpb::CompactionRequest& request);

  const int64_t ttl_min_seconds_;
  std::map<std::string, Chain, std::less<>> chains_;
  std::vector<std::vector<Change>> changes_;  // of revision 2 + place
  std::vector<Change> open_;                  // of the entry that is being applied
  std::map<int64_t, Lease> leases_;
  int64_t revision_ = 1;
  int64_t compacted_ = 0;
};

// Whether `key` lies in the interval of etcd's API ("" = the one key, "\0" = all from key on).
bool InRange(std::string_view key, std::string_view begin, std::string_view end);

}  // namespace quorate::sim
