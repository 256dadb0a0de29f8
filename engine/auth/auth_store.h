// AuthStore: users, roles, what each may touch, and whether that is asked for at all. Replicated
// state, changed only by applied entries; kept in the tables `auth` (authEnabled: one byte,
// authRevision: 8 bytes big-endian), `authUsers` and `authRoles` (name -> authpb.User, authpb.Role)
// as etcd keeps it. Rules and texts: wire facts, semantics §7, and a running etcd.
// Replica thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/auth/key_intervals.h"
#include "engine/errors.h"
#include "engine/mvcc/window.h"
#include "proto/authpb.pb.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

inline constexpr char kRootUser[] = "root";
inline constexpr char kRootRole[] = "root";

// Who asks, and the revision of the auth store at which he was let in. Nobody: both empty.
struct Identity {
  std::string username;
  uint64_t auth_revision = 0;
};

class AuthStore {
 public:
  explicit AuthStore(Window* window) : window_(window) {}

  // --- applied entries; an error changes nothing
  // Writes what etcd writes before any entry: to be called with the first one.
  void Begin();
  Error Enable();
  void Disable();
  Error UserAdd(const etcdserverpb::AuthUserAddRequest& request);
  Error UserDelete(const std::string& name);
  Error UserChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request);
  Error UserGrantRole(const std::string& user, const std::string& role);
  Error UserRevokeRole(const std::string& user, const std::string& role);
  Error RoleAdd(const std::string& name);
  Error RoleDelete(const std::string& name);
  Error RoleGrantPermission(const etcdserverpb::AuthRoleGrantPermissionRequest& request);
  Error RoleRevokePermission(const etcdserverpb::AuthRoleRevokePermissionRequest& request);

  // --- looks
  bool enabled() const { return enabled_; }
  // 1 at the beginning, one more with every change of users, roles or permissions.
  uint64_t revision() const { return revision_; }
  const authpb::User* FindUser(const std::string& name) const;
  const authpb::Role* FindRole(const std::string& name) const;
  const std::map<std::string, authpb::User>& users() const { return users_; }
  const std::map<std::string, authpb::Role>& roles() const { return roles_; }
  bool HasRole(const std::string& user, const std::string& role) const;
  // What RoleGet says: of the root role, whose permissions nobody stored, everything.
  static etcdserverpb::AuthRoleGetResponse Describe(const authpb::Role& role);

  // --- permissions; all are given while auth is off
  Error CheckAdmin(const Identity& identity) const;
  // Somebody, whoever it is.
  Error CheckSomebody(const Identity& identity) const;
  Error CheckRead(const Identity& identity, std::string_view key, std::string_view range_end) const;
  Error CheckWrite(const Identity& identity, std::string_view key,
                   std::string_view range_end) const;

  absl::Status Restore(const kv::KvSnapshot& snapshot);

 private:
  struct Granted {
    KeyIntervals read, write;
  };
  enum class Wanted { kRead, kWrite };

  Error CheckKeys(const Identity& identity, std::string_view key, std::string_view range_end,
                  Wanted wanted) const;
  const Granted& GrantedTo(const authpb::User& user) const;
  void SaveUser(const std::string& name);
  void SaveRole(const std::string& name);
  void SaveEnabled();
  void SaveRevision();
  void Changed();

  Window* const window_;
  bool enabled_ = false;
  uint64_t revision_ = 1;
  std::map<std::string, authpb::User> users_;
  std::map<std::string, authpb::Role> roles_;
  // By user, worked out when first asked for after a change.
  mutable std::map<std::string, Granted> granted_;
};

}  // namespace quorate::engine
