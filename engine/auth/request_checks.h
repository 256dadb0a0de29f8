// Whether somebody may make a request: every key that it reads or writes, those of both branches of
// a transaction whichever will run, and those that hang on a lease which it would attach or revoke
// (wire facts, semantics §7). Asked where a request is applied, or read, in that state.
#pragma once

#include <string>
#include <vector>

#include "engine/auth/auth_store.h"
#include "engine/lease/lessor.h"
#include "engine/mvcc/requests.h"
#include "proto/raft_internal.pb.h"

namespace quorate::engine {

struct AuthContext {
  const AuthStore& auth;
  const Lessor& lessor;
};

Error CheckPutAllowed(const AuthContext& context, const Identity& identity,
                      const PutArguments& put);
Error CheckDeleteAllowed(const AuthContext& context, const Identity& identity,
                         const etcdserverpb::DeleteRangeRequest& request);
Error CheckTxnAllowed(const AuthContext& context, const Identity& identity,
                      const etcdserverpb::TxnRequest& request);
// Of reads that are answered from the state at hand: an identity of another revision, an older or a
// newer one, does not fit it.
Error CheckRangeAllowed(const AuthContext& context, const Identity& identity,
                        const etcdserverpb::RangeRequest& request);
Error CheckReadTxnAllowed(const AuthContext& context, const Identity& identity,
                          const etcdserverpb::TxnRequest& request);
// Write on all keys of the lease: to renew or revoke it, or to attach another key.
Error CheckLeaseWrite(const AuthContext& context, const Identity& identity, LeaseId lease);
// Read on all keys of a lease: to be told them, or that there is such a lease.
Error CheckLeaseKeysRead(const AuthStore& auth, const Identity& identity,
                         const std::vector<std::string>& keys);
// The same of all leases: to be told which there are.
Error CheckLeasesRead(const AuthContext& context, const Identity& identity);
// Of an entry of the log, before it is applied.
Error CheckEntryAllowed(const AuthContext& context, const Identity& identity,
                        const etcdserverpb::InternalRaftRequest& request);

}  // namespace quorate::engine
