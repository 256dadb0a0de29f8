#include "engine/auth/auth_store.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/check.h"
#include "engine/auth/base64.h"

namespace quorate::engine {
namespace {

using authpb::Permission;
using authpb::Role;
using authpb::User;

constexpr std::string_view kFromKey{"\0", 1};

bool IsValidInterval(std::string_view key, std::string_view range_end) {
  if (key.empty()) return false;
  return range_end.empty() || key < range_end || range_end == kFromKey;
}

// False: the user does not have it.
bool RemoveRole(User* user, const std::string& role) {
  auto* roles = user->mutable_roles();
  const auto rest = std::remove(roles->begin(), roles->end(), role);
  if (rest == roles->end()) return false;
  roles->erase(rest, roles->end());
  return true;
}

}  // namespace

void AuthStore::Begin() { SaveRevision(); }

Error AuthStore::Enable() {
  if (enabled_) return {};
  if (FindUser(kRootUser) == nullptr) return errors::kRootUserNotExist;
  if (!HasRole(kRootUser, kRootRole)) return errors::kRootRoleNotExist;
  enabled_ = true;
  SaveEnabled();
  return {};
}

void AuthStore::Disable() {
  if (!enabled_) return;
  enabled_ = false;
  SaveEnabled();
  Changed();
}

Error AuthStore::UserAdd(const etcdserverpb::AuthUserAddRequest& request) {
  if (request.name().empty()) return errors::kUserEmpty;
  if (users_.contains(request.name())) return errors::kUserAlreadyExist;
  User user;
  user.set_name(request.name());
  *user.mutable_options() = request.options();  // written also when there is nothing in it
  if (!request.options().no_password()) {
    std::optional<std::string> password = DecodeStdBase64(request.hashedpassword());
    if (!password) return errors::kNoPasswordUser;
    user.set_password(*std::move(password));
  }
  users_.emplace(request.name(), std::move(user));
  SaveUser(request.name());
  Changed();
  return {};
}

Error AuthStore::UserDelete(const std::string& name) {
  if (enabled_ && name == kRootUser) return errors::kInvalidAuthMgmt;
  if (users_.erase(name) == 0) return errors::kUserNotFound;
  window_->Delete(kv::Table::kAuthUsers, name);
  Changed();
  return {};
}

Error AuthStore::UserChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request) {
  const auto user = users_.find(request.name());
  if (user == users_.end()) return errors::kUserNotFound;
  if (user->second.options().no_password()) {
    user->second.clear_password();
  } else {
    std::optional<std::string> password = DecodeStdBase64(request.hashedpassword());
    if (!password) return errors::kNoPasswordUser;
    user->second.set_password(*std::move(password));
  }
  SaveUser(request.name());
  Changed();
  return {};
}

Error AuthStore::UserGrantRole(const std::string& name, const std::string& role) {
  const auto user = users_.find(name);
  if (user == users_.end()) return errors::kUserNotFound;
  // The root role may be held without being there.
  if (role != kRootRole && !roles_.contains(role)) return errors::kRoleNotFound;
  if (HasRole(name, role)) return {};
  user->second.add_roles(role);
  std::sort(user->second.mutable_roles()->begin(), user->second.mutable_roles()->end());
  SaveUser(name);
  Changed();
  return {};
}

Error AuthStore::UserRevokeRole(const std::string& name, const std::string& role) {
  if (enabled_ && name == kRootUser && role == kRootRole) return errors::kInvalidAuthMgmt;
  const auto user = users_.find(name);
  if (user == users_.end()) return errors::kUserNotFound;
  if (!RemoveRole(&user->second, role)) return errors::kRoleNotGranted;
  SaveUser(name);
  Changed();
  return {};
}

Error AuthStore::RoleAdd(const std::string& name) {
  if (name.empty()) return errors::kRoleEmpty;
  if (roles_.contains(name)) return errors::kRoleAlreadyExist;
  roles_[name].set_name(name);
  SaveRole(name);
  Changed();
  return {};
}

Error AuthStore::RoleDelete(const std::string& name) {
  if (enabled_ && name == kRootRole) return errors::kInvalidAuthMgmt;
  if (roles_.erase(name) == 0) return errors::kRoleNotFound;
  window_->Delete(kv::Table::kAuthRoles, name);
  for (auto& [user_name, user] : users_) {
    if (RemoveRole(&user, name)) SaveUser(user_name);
  }
  Changed();
  return {};
}

Error AuthStore::RoleGrantPermission(const etcdserverpb::AuthRoleGrantPermissionRequest& request) {
  if (!request.has_perm()) return errors::kPermissionNotGiven;
  const Permission& given = request.perm();
  if (!IsValidInterval(given.key(), given.range_end())) return errors::kInvalidAuthMgmt;
  const auto role = roles_.find(request.name());
  if (role == roles_.end()) return errors::kRoleNotFound;
  auto* permissions = role->second.mutable_keypermission();
  const auto key_below = [](const Permission& a, const Permission& b) { return a.key() < b.key(); };
  // Of several permissions that begin with one key etcd finds the first again, and no other.
  const auto known = std::lower_bound(permissions->begin(), permissions->end(), given, key_below);
  if (known != permissions->end() && known->key() == given.key() &&
      known->range_end() == given.range_end()) {
    known->set_permtype(given.permtype());
  } else {
    const auto at = std::upper_bound(permissions->begin(), permissions->end(), given, key_below);
    const auto place = at - permissions->begin();
    *permissions->Add() = given;
    std::rotate(permissions->begin() + place, permissions->end() - 1, permissions->end());
  }
  SaveRole(request.name());
  Changed();
  return {};
}

Error AuthStore::RoleRevokePermission(
    const etcdserverpb::AuthRoleRevokePermissionRequest& request) {
  const auto role = roles_.find(request.role());
  if (role == roles_.end()) return errors::kRoleNotFound;
  auto* permissions = role->second.mutable_keypermission();
  const auto rest =
      std::remove_if(permissions->begin(), permissions->end(), [&](const Permission& permission) {
        return permission.key() == request.key() && permission.range_end() == request.range_end();
      });
  if (rest == permissions->end()) return errors::kPermissionNotGranted;
  permissions->erase(rest, permissions->end());
  SaveRole(request.role());
  Changed();
  return {};
}

const User* AuthStore::FindUser(const std::string& name) const {
  const auto user = users_.find(name);
  return user == users_.end() ? nullptr : &user->second;
}

const Role* AuthStore::FindRole(const std::string& name) const {
  const auto role = roles_.find(name);
  return role == roles_.end() ? nullptr : &role->second;
}

bool AuthStore::HasRole(const std::string& user, const std::string& role) const {
  const User* found = FindUser(user);
  if (found == nullptr) return false;
  return std::find(found->roles().begin(), found->roles().end(), role) != found->roles().end();
}

etcdserverpb::AuthRoleGetResponse AuthStore::Describe(const Role& role) {
  etcdserverpb::AuthRoleGetResponse response;
  if (role.name() == kRootRole) {
    Permission* everything = response.add_perm();
    everything->set_permtype(Permission::READWRITE);
    everything->set_range_end(std::string(kFromKey));
  } else {
    *response.mutable_perm() = role.keypermission();
  }
  return response;
}

Error AuthStore::CheckAdmin(const Identity& identity) const {
  if (!enabled_) return {};
  if (identity.username.empty()) return errors::kUserEmpty;
  if (FindUser(identity.username) == nullptr) return errors::kUserNotFound;
  if (!HasRole(identity.username, kRootRole)) return errors::kPermissionDenied;
  return {};
}

Error AuthStore::CheckSomebody(const Identity& identity) const {
  if (enabled_ && identity.username.empty() && identity.auth_revision == 0) {
    return errors::kUserEmpty;
  }
  return {};
}

Error AuthStore::CheckRead(const Identity& identity, std::string_view key,
                           std::string_view range_end) const {
  return CheckKeys(identity, key, range_end, Wanted::kRead);
}

Error AuthStore::CheckWrite(const Identity& identity, std::string_view key,
                            std::string_view range_end) const {
  return CheckKeys(identity, key, range_end, Wanted::kWrite);
}

Error AuthStore::CheckKeys(const Identity& identity, std::string_view key,
                           std::string_view range_end, Wanted wanted) const {
  if (!enabled_) return {};
  if (identity.auth_revision == 0) return errors::kUserEmpty;
  if (identity.auth_revision < revision_) return errors::kAuthOldRevision;
  const User* user = FindUser(identity.username);
  if (user == nullptr) return errors::kPermissionDenied;
  if (HasRole(identity.username, kRootRole)) return {};
  const Granted& granted = GrantedTo(*user);
  const KeyIntervals& allowed = wanted == Wanted::kRead ? granted.read : granted.write;
  if (!allowed.Contains(key, range_end)) return errors::kPermissionDenied;
  return {};
}

const AuthStore::Granted& AuthStore::GrantedTo(const User& user) const {
  const auto [place, is_new] = granted_.try_emplace(user.name());
  if (!is_new) return place->second;
  for (const std::string& name : user.roles()) {
    const Role* role = FindRole(name);
    if (role == nullptr) continue;
    for (const Permission& permission : role->keypermission()) {
      const bool both = permission.permtype() == Permission::READWRITE;
      if (both || permission.permtype() == Permission::READ) {
        place->second.read.Add(permission.key(), permission.range_end());
      }
      if (both || permission.permtype() == Permission::WRITE) {
        place->second.write.Add(permission.key(), permission.range_end());
      }
    }
  }
  return place->second;
}

void AuthStore::Changed() {
  ++revision_;
  granted_.clear();
  SaveRevision();
}

}  // namespace quorate::engine
