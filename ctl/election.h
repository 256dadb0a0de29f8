// Who is first among the keys below a prefix: the one that was created first. Locks and elections
// of etcd's clients are made of this (client/v3/concurrency), so both understand each other:
// everybody puts PREFIX/LEASE (in hexadecimal) with its lease, and waits until no older key is
// left.
#pragma once

#include <cstdint>
#include <string>

#include "ctl/interruption.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

class Candidate {
 public:
  // The key of a candidate for `name`.
  Candidate(SyncClient* client, const std::string& name, int64_t lease);

  // Puts the key, if it is not there, with this value.
  transport::RpcStatus Enter(const std::string& value);
  // Waits until no key below the prefix is older. kCanceled "context canceled" when a signal, and
  // kAborted when the loss of the lease raised the interruption.
  transport::RpcStatus WaitUntilFirst(Interruption* interruption);
  // Reads the own key; none when it was lost.
  transport::RpcStatus ReadKey(etcdserverpb::RangeResponse* response);
  // Deletes the key, unless somebody else has put it anew.
  transport::RpcStatus Leave();

  const std::string& key() const { return key_; }
  int64_t revision() const { return revision_; }  // since which it holds, after WaitUntilFirst

 private:
  transport::RpcStatus ReadOlder(etcdserverpb::RangeResponse* response);

  SyncClient* const client_;
  const std::string prefix_;
  const std::string key_;
  const int64_t lease_;
  int64_t created_revision_ = 0;
  int64_t revision_ = 0;
};

// The first key below the prefix of `name`, which is the leader's; none when nobody leads.
transport::RpcStatus ReadLeader(SyncClient* client, const std::string& name,
                                etcdserverpb::RangeResponse* response);
std::string ElectionPrefix(const std::string& name);

}  // namespace quorate::ctl
