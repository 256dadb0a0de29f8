// Membership: the members of the cluster as applied entries tell, the cluster's version and its
// downgrade. Replicated state in tables `members`, `members_removed` and `cluster` (wire facts,
// formats §2 and §5).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/log_entry.h"
#include "engine/cluster/member_json.h"
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/mvcc/window.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/membershippb.pb.h"

namespace quorate::engine {

class Membership {
 public:
  struct Options {
    uint32_t learners_max = 1;  // all members must agree
  };
  Membership(const Options& options, Window* window) : options_(options), window_(window) {}

  // A configuration entry that was committed. A change that does not fit what is there by now
  // (etcd's rules: an id that was removed once, a peer URL in use, ...) is answered with its error
  // and changes nothing. kDataLoss for bytes that cannot be read.
  Error ApplyConfChange(const Entry& entry);
  Error SetAttributes(const membershippb::ClusterMemberAttrSetRequest& request);
  void SetVersion(const std::string& version);
  void SetDowngrade(const membershippb::DowngradeInfoSetRequest& request);

  std::vector<etcdserverpb::Member> members() const;  // by id
  const std::set<uint64_t>& removed() const { return removed_; }
  const std::string& version() const { return version_; }
  const DowngradeInfo& downgrade() const { return downgrade_; }

  absl::Status Restore(const kv::KvSnapshot& snapshot);

 private:
  enum class Joins { kAsVoter, kAsLearner };

  void Write(const etcdserverpb::Member& member);
  void WriteConfState();
  void Remove(uint64_t id);
  Error AddOrPromote(const MemberContext& context, Joins joins);
  bool UrlsInUse(const etcdserverpb::Member& by, uint64_t but_of) const;

  const Options options_;
  Window* const window_;
  std::map<uint64_t, etcdserverpb::Member> members_;
  std::set<uint64_t> removed_;
  std::string version_;
  DowngradeInfo downgrade_;
};

}  // namespace quorate::engine
