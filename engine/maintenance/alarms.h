// Alarms: which member raised which alarm (wire facts, semantics §9-10). Replicated state, changed
// only by applied entries. Kept in table `alarm`: the key is the encoded AlarmMember, no value.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/errors.h"
#include "engine/mvcc/window.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

class Alarms {
 public:
  explicit Alarms(Window* window) : window_(window) {}

  // Appends the alarms of the answer. An action outside the enum is refused; a real etcd dies of
  // it, and services stop it before the log.
  Error Apply(const etcdserverpb::AlarmRequest& request, etcdserverpb::AlarmResponse* response);
  bool Has(etcdserverpb::AlarmType type) const;
  bool empty() const { return active_.empty(); }
  std::vector<etcdserverpb::AlarmMember> List() const;  // by type, then member

  absl::Status Restore(const kv::KvSnapshot& snapshot);

 private:
  using Key = std::pair<int, uint64_t>;  // type, member

  Window* const window_;
  std::map<Key, etcdserverpb::AlarmMember> active_;
};

}  // namespace quorate::engine
