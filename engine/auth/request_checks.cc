#include "engine/auth/request_checks.h"

#include <string>
#include <vector>

namespace quorate::engine {
namespace {

using etcdserverpb::InternalRaftRequest;
using etcdserverpb::RequestOp;

std::vector<std::string> KeysOf(const AuthContext& context, LeaseId lease) {
  return context.lessor.GetTimeToLive(lease, 0, Lessor::Keys::kInclude).keys;
}

Error CheckPresent(const AuthContext& context, const Identity& identity) {
  const bool present =
      identity.auth_revision == 0 || identity.auth_revision == context.auth.revision();
  return present ? Error() : errors::kAuthOldRevision;
}

Error CheckOp(const AuthContext& context, const Identity& identity, const RequestOp& op) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return context.auth.CheckRead(identity, op.request_range().key(),
                                    op.request_range().range_end());
    case RequestOp::kRequestPut:
      return CheckPutAllowed(context, identity, PutArguments::Of(op.request_put()));
    case RequestOp::kRequestDeleteRange:
      return CheckDeleteAllowed(context, identity, op.request_delete_range());
    case RequestOp::kRequestTxn:
      return CheckTxnAllowed(context, identity, op.request_txn());
    default:
      return {};
  }
}

// Users and roles are root's business. Membership, compaction and alarms are too, but that is asked
// where they come in: entries of theirs are also made by members themselves.
bool NeedsAdmin(const InternalRaftRequest& request) {
  return request.has_auth_enable() || request.has_auth_disable() || request.has_auth_user_add() ||
         request.has_auth_user_delete() || request.has_auth_user_change_password() ||
         request.has_auth_user_grant_role() || request.has_auth_user_revoke_role() ||
         request.has_auth_role_add() || request.has_auth_role_delete() ||
         request.has_auth_role_grant_permission() || request.has_auth_role_revoke_permission() ||
         request.has_auth_user_list() || request.has_auth_role_list();
}

// Everybody may see himself and what his roles give him.
Error CheckOwn(const AuthContext& context, const Identity& identity,
               const InternalRaftRequest& request) {
  const AuthStore& auth = context.auth;
  const bool own = request.has_auth_user_get()
                       ? request.auth_user_get().name() == identity.username
                       : auth.HasRole(identity.username, request.auth_role_get().role());
  return own ? Error() : auth.CheckAdmin(identity);
}

}  // namespace

Error CheckPutAllowed(const AuthContext& context, const Identity& identity,
                      const PutArguments& put) {
  if (!context.auth.enabled()) return {};
  if (Error error = context.auth.CheckWrite(identity, put.key, {}); !error.ok()) return error;
  if (Error error = CheckLeaseWrite(context, identity, LeaseId(put.lease)); !error.ok()) {
    return error;
  }
  return put.prev_kv ? context.auth.CheckRead(identity, put.key, {}) : Error();
}

Error CheckDeleteAllowed(const AuthContext& context, const Identity& identity,
                         const etcdserverpb::DeleteRangeRequest& request) {
  if (Error error = context.auth.CheckWrite(identity, request.key(), request.range_end());
      !error.ok()) {
    return error;
  }
  if (!request.prev_kv()) return {};
  return context.auth.CheckRead(identity, request.key(), request.range_end());
}

Error CheckTxnAllowed(const AuthContext& context, const Identity& identity,
                      const etcdserverpb::TxnRequest& request) {
  if (!context.auth.enabled()) return {};
  for (const etcdserverpb::Compare& compare : request.compare()) {
    if (Error error = context.auth.CheckRead(identity, compare.key(), compare.range_end());
        !error.ok()) {
      return error;
    }
  }
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      if (Error error = CheckOp(context, identity, op); !error.ok()) return error;
    }
  }
  return {};
}

Error CheckRangeAllowed(const AuthContext& context, const Identity& identity,
                        const etcdserverpb::RangeRequest& request) {
  if (Error error = context.auth.CheckRead(identity, request.key(), request.range_end());
      !error.ok()) {
    return error;
  }
  return CheckPresent(context, identity);
}

Error CheckReadTxnAllowed(const AuthContext& context, const Identity& identity,
                          const etcdserverpb::TxnRequest& request) {
  if (Error error = CheckTxnAllowed(context, identity, request); !error.ok()) return error;
  return CheckPresent(context, identity);
}

Error CheckLeaseWrite(const AuthContext& context, const Identity& identity, LeaseId lease) {
  // root's own, also with a revision that is old: what expires must go.
  if (context.auth.CheckAdmin(identity).ok()) return {};
  for (const std::string& key : KeysOf(context, lease)) {
    if (Error error = context.auth.CheckWrite(identity, key, {}); !error.ok()) return error;
  }
  return {};
}

Error CheckLeaseKeysRead(const AuthStore& auth, const Identity& identity,
                         const std::vector<std::string>& keys) {
  if (auth.CheckAdmin(identity).ok()) return {};
  for (const std::string& key : keys) {
    if (Error error = auth.CheckRead(identity, key, {}); !error.ok()) return error;
  }
  return {};
}

Error CheckLeasesRead(const AuthContext& context, const Identity& identity) {
  if (Error error = context.auth.CheckSomebody(identity); !error.ok()) return error;
  if (context.auth.CheckAdmin(identity).ok()) return {};
  for (const LeaseId lease : context.lessor.List()) {
    const Error refused = CheckLeaseKeysRead(context.auth, identity, KeysOf(context, lease));
    if (!refused.ok()) return refused;
  }
  return {};
}

Error CheckEntryAllowed(const AuthContext& context, const Identity& identity,
                        const InternalRaftRequest& request) {
  if (!context.auth.enabled()) return {};
  if (NeedsAdmin(request)) return context.auth.CheckAdmin(identity);
  if (request.has_auth_user_get() || request.has_auth_role_get()) {
    return CheckOwn(context, identity, request);
  }
  if (request.has_put()) {
    return CheckPutAllowed(context, identity, PutArguments::Of(request.put()));
  }
  if (request.has_txn()) return CheckTxnAllowed(context, identity, request.txn());
  if (request.has_delete_range()) {
    return CheckDeleteAllowed(context, identity, request.delete_range());
  }
  if (request.has_lease_revoke()) {
    return CheckLeaseWrite(context, identity, LeaseId(request.lease_revoke().id()));
  }
  return {};
}

}  // namespace quorate::engine
