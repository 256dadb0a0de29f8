// role add, delete, get, list, grant-permission, revoke-permission.
#include "base/text.h"
#include "ctl/permissions.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

int OneRole(const Session& session, std::string_view command) {
  if (session.words().size() == 1) return kExitOk;
  return Fail(kExitBadArguments,
              StrCat("role ", command, " command requires role name as its argument"));
}

int Add(Session* session) {
  if (const int code = OneRole(*session, "add"); code != kExitOk) return code;
  etcdserverpb::AuthRoleAddRequest request;
  request.set_name(session->words()[0]);
  etcdserverpb::AuthRoleAddResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleAdd", request, &response)) return session->failure();
  return PrintHeaderOnly(*session, response, StrCat("Role ", request.name(), " created\n"));
}

int Delete(Session* session) {
  if (const int code = OneRole(*session, "delete"); code != kExitOk) return code;
  etcdserverpb::AuthRoleDeleteRequest request;
  request.set_role(session->words()[0]);
  etcdserverpb::AuthRoleDeleteResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleDelete", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(*session, response, StrCat("Role ", request.role(), " deleted\n"));
}

int Get(Session* session) {
  if (const int code = OneRole(*session, "get"); code != kExitOk) return code;
  etcdserverpb::AuthRoleGetRequest request;
  request.set_role(session->words()[0]);
  etcdserverpb::AuthRoleGetResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleGet", request, &response)) return session->failure();
  return PrintRole(*session, request.role(), response);
}

int List(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "role list command requires no arguments");
  }
  etcdserverpb::AuthRoleListResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleList", etcdserverpb::AuthRoleListRequest(),
                     &response)) {
    return session->failure();
  }
  return PrintMessage(
      *session, response,
      [&] {
        std::string out;
        for (const std::string& role : response.roles()) StrAppend(&out, role, "\n");
        return out;
      },
      [&] {
        std::string out = HeaderFields(*session, response.header()) + "\"Roles\" :";
        for (const std::string& role : response.roles()) StrAppend(&out, " ", GoQuote(role));
        return out + "\n";
      });
}

bool ParsePermissionType(const std::string& text, authpb::Permission* permission) {
  std::string name = text;
  for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  authpb::Permission::Type type;
  if (!authpb::Permission::Type_Parse(name, &type)) return false;
  permission->set_permtype(type);
  return true;
}

int GrantPermission(Session* session) {
  const auto& words = session->words();
  if (words.size() < 3 || words.size() > 4) {
    return Fail(kExitBadArguments,
                "role grant command requires role name, permission type, and key [endkey] as its "
                "argument");
  }
  etcdserverpb::AuthRoleGrantPermissionRequest request;
  request.set_name(words[0]);
  if (!ParsePermissionType(words[1], request.mutable_perm())) {
    return Fail(kExitBadArguments, StrCat("invalid permission type: ", words[1]));
  }
  const auto interval = PermittedInterval(*session, 2);
  if (!interval.ok()) return Fail(interval.status());
  request.mutable_perm()->set_key(interval->key);
  request.mutable_perm()->set_range_end(interval->range_end);
  etcdserverpb::AuthRoleGrantPermissionResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleGrantPermission", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(*session, response, StrCat("Role ", request.name(), " updated\n"));
}

std::string RevokedText(const std::string& role, const std::string& key, const std::string& end) {
  std::string what = StrCat("key ", key);
  if (!end.empty()) {
    what = end == std::string(1, '\0') ? StrCat("range [", key, ", <open ended>")
                                       : StrCat("range [", key, ", ", end, ")");
  }
  return StrCat("Permission of ", what, " is revoked from role ", role, "\n");
}

int RevokePermission(Session* session) {
  const auto& words = session->words();
  if (words.size() < 2 || words.size() > 3) {
    return Fail(kExitBadArguments,
                "role revoke-permission command requires role name and key [endkey] as its "
                "argument");
  }
  const auto interval = PermittedInterval(*session, 1);
  if (!interval.ok()) return Fail(interval.status());
  etcdserverpb::AuthRoleRevokePermissionRequest request;
  request.set_role(words[0]);
  request.set_key(interval->key);
  request.set_range_end(interval->range_end);
  etcdserverpb::AuthRoleRevokePermissionResponse response;
  if (!session->Call("/etcdserverpb.Auth/RoleRevokePermission", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(*session, response, RevokedText(words[0], words[1], interval->range_end));
}

}  // namespace

std::vector<Command> RoleCommands() {
  const std::vector<OptionSpec> interval = {
      {"prefix", Type::kBool, "false", "All keys that begin with the key.", ""},
      {"from-key", Type::kBool, "false", "The key and all keys after it.", ""}};
  return {
      {"role add", "<role name>", "Adds a role", {}, Add},
      {"role delete", "<role name>", "Deletes a role", {}, Delete},
      {"role get", "<role name>", "Shows what a role permits", {}, Get},
      {"role list", "", "Lists all roles", {}, List},
      {"role grant-permission", "[options] <role name> <permission type> <key> [endkey]",
       "Lets a role read or write keys", interval, GrantPermission,
       "The permission type is read, write or readwrite.\n"
       "  quoratectl role grant-permission app readwrite /app/ --prefix\n"
       "  quoratectl role grant-permission app read a c       from a up to, and without, c\n"
       "  quoratectl role grant-permission all read '' --prefix"},
      {"role revoke-permission", "<role name> <key> [endkey]", "Takes a permission from a role",
       interval, RevokePermission, "Name the keys as they were granted: `role get` shows them."},
  };
}

}  // namespace quorate::ctl
