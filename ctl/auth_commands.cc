// auth enable, disable, status.
#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

int NoWords(const Session& session, std::string_view command) {
  if (session.words().empty()) return kExitOk;
  return Fail(kExitBadArguments,
              StrCat("auth ", command, " command does not accept any arguments"));
}

// What a server wants before it enables authentication: a user root with a role root. The user must
// be there; the role is made.
bool MakeRootRole(Session* session) {
  etcdserverpb::AuthRoleAddRequest role;
  role.set_name("root");
  etcdserverpb::AuthRoleAddResponse added;
  if (!session->Call("/etcdserverpb.Auth/RoleAdd", role, &added)) return false;
  etcdserverpb::AuthUserGrantRoleRequest grant;
  grant.set_user("root");
  grant.set_role("root");
  etcdserverpb::AuthUserGrantRoleResponse granted;
  return session->Call("/etcdserverpb.Auth/UserGrantRole", grant, &granted);
}

int Enable(Session* session) {
  if (const int code = NoWords(*session, "enable"); code != kExitOk) return code;
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  constexpr char kPath[] = "/etcdserverpb.Auth/AuthEnable";
  etcdserverpb::AuthEnableResponse response;
  auto status = client->Call(kPath, etcdserverpb::AuthEnableRequest(), &response);
  if (status.message == "etcdserver: root user does not have root role") {
    if (!MakeRootRole(session)) return session->failure();
    status = client->Call(kPath, etcdserverpb::AuthEnableRequest(), &response);
  }
  if (!status.ok()) return Fail(status);
  Out("Authentication Enabled\n");
  return kExitOk;
}

int Disable(Session* session) {
  if (const int code = NoWords(*session, "disable"); code != kExitOk) return code;
  etcdserverpb::AuthDisableResponse response;
  if (!session->Call("/etcdserverpb.Auth/AuthDisable", etcdserverpb::AuthDisableRequest(),
                     &response)) {
    return session->failure();
  }
  Out("Authentication Disabled\n");
  return kExitOk;
}

int Status(Session* session) {
  if (const int code = NoWords(*session, "status"); code != kExitOk) return code;
  etcdserverpb::AuthStatusResponse response;
  if (!session->Call("/etcdserverpb.Auth/AuthStatus", etcdserverpb::AuthStatusRequest(),
                     &response)) {
    return session->failure();
  }
  return PrintWithoutFields(*session, response, [&] {
    return StrCat("Authentication Status: ", response.enabled() ? "true" : "false",
                  "\nAuthRevision: ", response.authrevision(), "\n");
  });
}

}  // namespace

std::vector<Command> AuthCommands() {
  return {
      {"auth enable",
       "",
       "Asks everybody for name and password from now on",
       {},
       Enable,
       "A user root must be there: quoratectl user add root\n"
       "Its role root is made and granted here when it is missing. After this every command needs\n"
       "--user=NAME:PASSWORD (or ETCDCTL_USER), this one's undoing as well:\n"
       "  quoratectl --user=root:secret auth disable"},
      {"auth disable", "", "Lets everybody in again", {}, Disable},
      {"auth status", "", "Tells whether users must sign in", {}, Status},
  };
}

}  // namespace quorate::ctl
