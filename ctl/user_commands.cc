// user add, delete, get, list, passwd, grant-role, revoke-role.
#include "base/text.h"
#include "ctl/permissions.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/terminal.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

// A new password, typed twice; with --interactive=false the first word of standard input.
absl::StatusOr<std::string> NewPassword(const Session& session, const std::string& user) {
  if (!session.values().GetBool("interactive")) return ReadWord();
  const std::string first = AskPassword(StrCat("Password of ", user, ": "));
  if (first.empty()) return absl::InvalidArgumentError("empty password");
  const std::string second =
      AskPassword(StrCat("Type password of ", user, " again for confirmation: "));
  if (first != second) return absl::InvalidArgumentError("given passwords are different");
  return first;
}

// Name and password of a new user, from the one word and the flags.
absl::Status FillUser(const Session& session, etcdserverpb::AuthUserAddRequest* request) {
  const OptionValues& v = session.values();
  const std::string& word = session.words()[0];
  request->set_name(word);
  if (v.GetBool("no-password")) {
    request->mutable_options()->set_no_password(true);
    return absl::OkStatus();
  }
  request->mutable_options();
  if (const std::string& given = v.GetString("new-user-password"); !given.empty()) {
    request->set_password(given);
    return absl::OkStatus();
  }
  if (const size_t colon = word.find(':'); colon != std::string::npos) {
    if (colon == 0) return absl::InvalidArgumentError("empty user name is not allowed");
    request->set_name(word.substr(0, colon));
    request->set_password(word.substr(colon + 1));
    return absl::OkStatus();
  }
  auto password = NewPassword(session, word);
  if (!password.ok()) return password.status();
  request->set_password(*password);
  return absl::OkStatus();
}

int Add(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "user add command requires user name as its argument");
  }
  etcdserverpb::AuthUserAddRequest request;
  if (auto status = FillUser(*session, &request); !status.ok()) return Fail(status);
  etcdserverpb::AuthUserAddResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserAdd", request, &response)) return session->failure();
  return PrintHeaderOnly(*session, response, StrCat("User ", request.name(), " created\n"));
}

int Delete(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "user delete command requires user name as its argument");
  }
  etcdserverpb::AuthUserDeleteRequest request;
  request.set_name(session->words()[0]);
  etcdserverpb::AuthUserDeleteResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserDelete", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(*session, response, StrCat("User ", request.name(), " deleted\n"));
}

// The user's roles with all that they permit.
int PrintDetail(Session* session, const std::string& user,
                const etcdserverpb::AuthUserGetResponse& response) {
  Out(StrCat("User: ", user, "\n"));
  for (const std::string& role : response.roles()) {
    Out("\n");
    etcdserverpb::AuthRoleGetRequest request;
    request.set_role(role);
    etcdserverpb::AuthRoleGetResponse permissions;
    if (!session->Call("/etcdserverpb.Auth/RoleGet", request, &permissions)) {
      return session->failure();
    }
    if (const int code = PrintRole(*session, role, permissions); code != kExitOk) return code;
  }
  return kExitOk;
}

int Get(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "user get command requires user name as its argument");
  }
  const std::string& user = session->words()[0];
  etcdserverpb::AuthUserGetRequest request;
  request.set_name(user);
  etcdserverpb::AuthUserGetResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserGet", request, &response)) return session->failure();
  if (session->values().GetBool("detail")) return PrintDetail(session, user, response);
  return PrintWithoutFields(*session, response, [&] {
    std::string out = StrCat("User: ", user, "\nRoles:");
    for (const std::string& role : response.roles()) StrAppend(&out, " ", role);
    return out + "\n";
  });
}

int List(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "user list command requires no arguments");
  }
  etcdserverpb::AuthUserListResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserList", etcdserverpb::AuthUserListRequest(),
                     &response)) {
    return session->failure();
  }
  return PrintWithoutFields(*session, response, [&] {
    std::string out;
    for (const std::string& user : response.users()) StrAppend(&out, user, "\n");
    return out;
  });
}

int ChangePassword(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "user passwd command requires user name as its argument");
  }
  etcdserverpb::AuthUserChangePasswordRequest request;
  request.set_name(session->words()[0]);
  auto password = NewPassword(*session, request.name());
  if (!password.ok()) return Fail(password.status());
  request.set_password(*password);
  etcdserverpb::AuthUserChangePasswordResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserChangePassword", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(*session, response, "Password updated\n");
}

int GrantRole(Session* session) {
  if (session->words().size() != 2) {
    return Fail(kExitBadArguments,
                "user grant command requires user name and role name as its argument");
  }
  etcdserverpb::AuthUserGrantRoleRequest request;
  request.set_user(session->words()[0]);
  request.set_role(session->words()[1]);
  etcdserverpb::AuthUserGrantRoleResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserGrantRole", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(
      *session, response,
      StrCat("Role ", request.role(), " is granted to user ", request.user(), "\n"));
}

int RevokeRole(Session* session) {
  if (session->words().size() != 2) {
    return Fail(kExitBadArguments,
                "user revoke-role requires user name and role name as its argument");
  }
  etcdserverpb::AuthUserRevokeRoleRequest request;
  request.set_name(session->words()[0]);
  request.set_role(session->words()[1]);
  etcdserverpb::AuthUserRevokeRoleResponse response;
  if (!session->Call("/etcdserverpb.Auth/UserRevokeRole", request, &response)) {
    return session->failure();
  }
  return PrintHeaderOnly(
      *session, response,
      StrCat("Role ", request.role(), " is revoked from user ", request.name(), "\n"));
}

}  // namespace

std::vector<Command> UserCommands() {
  const OptionSpec interactive{"interactive", Type::kBool, "true",
                               "Asks at the terminal; false reads it from standard input.", ""};
  return {
      {"user add",
       "<user name or user:password> [options]",
       "Adds a user",
       {interactive,
        {"new-user-password", Type::kString, "", "The password, on the command line.", ""},
        {"no-password", Type::kBool, "false", "Signs in by certificate only.", ""}},
       Add,
       "  quoratectl user add alice            asks for the password\n"
       "  echo secret | quoratectl user add alice --interactive=false\n"
       "A password on the command line can be seen by others on this machine."},
      {"user delete", "<user name>", "Deletes a user", {}, Delete},
      {"user get",
       "<user name> [options]",
       "Shows the roles of a user",
       {{"detail", Type::kBool, "false", "Shows what these roles permit.", ""}},
       Get},
      {"user list", "", "Lists all users", {}, List},
      {"user passwd", "<user name> [options]", "Changes a password", {interactive}, ChangePassword},
      {"user grant-role", "<user name> <role name>", "Gives a role to a user", {}, GrantRole},
      {"user revoke-role", "<user name> <role name>", "Takes a role from a user", {}, RevokeRole},
  };
}

}  // namespace quorate::ctl
