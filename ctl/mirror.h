// Copies keys from one cluster to another, and then each change: what make-mirror does.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "ctl/interruption.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

struct MirrorOptions {
  std::string prefix;              // of the keys that are copied; empty: all
  std::string destination_prefix;  // stands in its place there
  // 0: all keys as they are now, then the changes. Else only the changes from this revision on: a
  // mirror that ended goes on behind the last revision it had.
  int64_t first_revision = 0;
  size_t txn_operations_max = 128;
};

class Mirror {
 public:
  // Both clients outlive it.
  Mirror(SyncClient* source, SyncClient* destination, MirrorOptions options);

  // Runs until it fails or is interrupted (kCanceled). Leases are not copied.
  transport::RpcStatus Run(Interruption* interruption);

  int64_t copied() const { return copied_; }  // any thread
  // Behind the last change that the destination has; 0 before the first keys are all there.
  int64_t next_revision() const { return next_revision_; }  // any thread

 private:
  transport::RpcStatus CopyAll(Interruption* interruption);
  transport::RpcStatus CopyPage(const etcdserverpb::RangeResponse& page);
  transport::RpcStatus CopyChanges(Interruption* interruption);
  transport::RpcStatus Apply(const etcdserverpb::WatchResponse& response);
  transport::RpcStatus Commit(etcdserverpb::TxnRequest* txn);
  std::string DestinationKey(const std::string& key) const;

  SyncClient* const source_;
  SyncClient* const destination_;
  const MirrorOptions options_;
  std::atomic<int64_t> copied_{0};
  std::atomic<int64_t> next_revision_{0};
};

}  // namespace quorate::ctl
