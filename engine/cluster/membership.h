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
#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/mvcc/window.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/membershippb.pb.h"

namespace quorate::engine {

class Membership {
 public:
  explicit Membership(Window* window) : window_(window) {}

  // A configuration entry that was committed. Changes that do not fit (a member that was removed
  // once, an update of an unknown one) change nothing. kDataLoss for bytes that cannot be read.
  Error ApplyConfChange(const Entry& entry);
  // Adds a member that is not known yet.
  void Bootstrap(const etcdserverpb::Member& member);
  Error SetAttributes(const membershippb::ClusterMemberAttrSetRequest& request);
  void SetVersion(const std::string& version);
  void SetDowngrade(const membershippb::DowngradeInfoSetRequest& request);

  std::vector<etcdserverpb::Member> members() const;  // by id
  const std::set<uint64_t>& removed() const { return removed_; }
  const std::string& version() const { return version_; }
  const DowngradeInfo& downgrade() const { return downgrade_; }

  absl::Status Restore(const kv::KvSnapshot& snapshot);

 private:
  void Write(const etcdserverpb::Member& member);
  void Remove(uint64_t id);

  Window* const window_;
  std::map<uint64_t, etcdserverpb::Member> members_;
  std::set<uint64_t> removed_;
  std::string version_;
  DowngradeInfo downgrade_;
};

}  // namespace quorate::engine
