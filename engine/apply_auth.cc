// Entries of the Auth service. What only reads goes through the log as well, as in etcd: the answer
// is then the one of this place in the order, with the permissions of this place.
#include <optional>
#include <utility>

#include "base/check.h"
#include "engine/engine_impl.h"

namespace quorate::engine {

Reply EngineImpl::AnswerOf(const Error& error) const {
  if (!error.ok()) return {error, {}};
  return {{}, Body()};
}

Reply EngineImpl::ApplyAuthenticate(const etcdserverpb::InternalAuthenticateRequest& request) {
  if (!auth_.enabled()) return {errors::kAuthNotEnabled, {}};
  // The password was checked where the request came in; it is not in the log.
  const authpb::User* user = auth_.FindUser(request.name());
  if (user == nullptr || user->options().no_password()) return {errors::kAuthFailed, {}};
  etcdserverpb::AuthenticateResponse response;
  if (!request.simple_token().empty()) {
    tokens_.Assign(request.simple_token(), applied_, request.name());
    response.set_token(SimpleTokens::Text(request.simple_token(), applied_));
  }
  return {{}, Body() + response.SerializeAsString()};
}

Reply EngineImpl::ApplyAuthRead(const Request& request) {
  std::string rest;
  if (request.has_auth_user_get()) {
    const authpb::User* user = auth_.FindUser(request.auth_user_get().name());
    if (user == nullptr) return {errors::kUserNotFound, {}};
    etcdserverpb::AuthUserGetResponse response;
    *response.mutable_roles() = user->roles();
    rest = response.SerializeAsString();
  } else if (request.has_auth_role_get()) {
    const authpb::Role* role = auth_.FindRole(request.auth_role_get().role());
    if (role == nullptr) return {errors::kRoleNotFound, {}};
    rest = AuthStore::Describe(*role).SerializeAsString();
  } else if (request.has_auth_user_list()) {
    etcdserverpb::AuthUserListResponse response;
    for (const auto& [name, user] : auth_.users()) response.add_users(name);
    rest = response.SerializeAsString();
  } else if (request.has_auth_role_list()) {
    etcdserverpb::AuthRoleListResponse response;
    for (const auto& [name, role] : auth_.roles()) response.add_roles(name);
    rest = response.SerializeAsString();
  } else {
    QR_CHECK(request.has_auth_status());
    etcdserverpb::AuthStatusResponse response;
    response.set_enabled(auth_.enabled());
    response.set_authrevision(auth_.revision());
    rest = response.SerializeAsString();
  }
  return {{}, Body() + rest};
}

Reply EngineImpl::ApplyUserChange(const Request& request) {
  if (request.has_auth_user_add()) return AnswerOf(auth_.UserAdd(request.auth_user_add()));
  if (request.has_auth_user_grant_role()) {
    const auto& grant = request.auth_user_grant_role();
    return AnswerOf(auth_.UserGrantRole(grant.user(), grant.role()));
  }
  if (request.has_auth_user_revoke_role()) {
    const auto& revoke = request.auth_user_revoke_role();
    return AnswerOf(auth_.UserRevokeRole(revoke.name(), revoke.role()));
  }
  // Whoever signed in before is not signed in any more.
  const bool deleted = request.has_auth_user_delete();
  const std::string& name =
      deleted ? request.auth_user_delete().name() : request.auth_user_change_password().name();
  const Error error = deleted ? auth_.UserDelete(name)
                              : auth_.UserChangePassword(request.auth_user_change_password());
  if (error.ok()) tokens_.InvalidateUser(name);
  return AnswerOf(error);
}

Reply EngineImpl::ApplyRoleChange(const Request& request) {
  if (request.has_auth_role_add()) return AnswerOf(auth_.RoleAdd(request.auth_role_add().name()));
  if (request.has_auth_role_delete()) {
    return AnswerOf(auth_.RoleDelete(request.auth_role_delete().role()));
  }
  if (request.has_auth_role_grant_permission()) {
    return AnswerOf(auth_.RoleGrantPermission(request.auth_role_grant_permission()));
  }
  QR_CHECK(request.has_auth_role_revoke_permission());
  return AnswerOf(auth_.RoleRevokePermission(request.auth_role_revoke_permission()));
}

std::optional<Reply> EngineImpl::ApplyAuth(const Request& request) {
  if (request.has_authenticate()) return ApplyAuthenticate(request.authenticate());
  if (request.has_auth_enable()) return AnswerOf(auth_.Enable());
  if (request.has_auth_disable()) {
    auth_.Disable();
    tokens_.Clear();
    return AnswerOf({});
  }
  if (request.has_auth_user_get() || request.has_auth_role_get() || request.has_auth_user_list() ||
      request.has_auth_role_list() || request.has_auth_status()) {
    return ApplyAuthRead(request);
  }
  if (request.has_auth_user_add() || request.has_auth_user_delete() ||
      request.has_auth_user_change_password() || request.has_auth_user_grant_role() ||
      request.has_auth_user_revoke_role()) {
    return ApplyUserChange(request);
  }
  if (request.has_auth_role_add() || request.has_auth_role_delete() ||
      request.has_auth_role_grant_permission() || request.has_auth_role_revoke_permission()) {
    return ApplyRoleChange(request);
  }
  return std::nullopt;
}

}  // namespace quorate::engine
