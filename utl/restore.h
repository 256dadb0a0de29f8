// Making the data directory of a member of a new cluster out of a snapshot: what `quorateutl
// snapshot restore` does. From Quorate's and from etcd's snapshots, into any backend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace quorate::utl {

struct RestoreOptions {
  std::string snapshot;
  std::string data_dir;
  std::string log_dir;  // --wal-dir; empty: in the data directory
  std::string backend;
  std::string name;
  std::string initial_cluster;
  std::string initial_cluster_token;
  std::vector<std::string> advertise_peer_urls;
  bool skip_hash_check = false;
  // Added to the revision of the snapshot, and everything up to there counts as compacted: so no
  // client takes a revision for one that it saw before. 0: as the snapshot is.
  uint64_t bump_revision = 0;
};

// Revisions, keys, leases, alarms, users and roles are the snapshot's; the members are those of
// initial_cluster, and the cluster's log begins behind one entry for each. All members have to be
// restored from the same snapshot. Memory: a few batches of 4 MiB.
// The directory appears under its name when it is complete and on disk; a failure leaves nothing.
// Errors have etcdutl's texts where it has one; kDataLoss for a damaged snapshot.
absl::Status Restore(const RestoreOptions& options);

}  // namespace quorate::utl
