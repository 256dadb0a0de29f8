// alarm list, disarm; defrag; move-leader; downgrade validate, enable, cancel.
#include <cstdio>

#include "base/text.h"
#include "ctl/ask_each.h"
#include "ctl/go_numbers.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

constexpr char kAlarmPath[] = "/etcdserverpb.Maintenance/Alarm";

int PrintAlarms(const Session& session, const etcdserverpb::AlarmResponse& response) {
  return PrintMessage(
      session, response,
      [&] {
        std::string out;
        for (const auto& alarm : response.alarms()) {
          StrAppend(&out, "memberID:", alarm.memberid(),
                    " alarm:", etcdserverpb::AlarmType_Name(alarm.alarm()), "\n");
        }
        return out;
      },
      [&] {
        std::string out = HeaderFields(session, response.header());
        for (const auto& alarm : response.alarms()) {
          StrAppend(&out, IdField(session, "MemberID", alarm.memberid()),
                    "\"AlarmType\" : ", etcdserverpb::AlarmType_Name(alarm.alarm()), "\n\n");
        }
        return out;
      });
}

int AlarmList(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "alarm list command accepts no arguments");
  }
  etcdserverpb::AlarmResponse response;
  if (!session->Call(kAlarmPath, etcdserverpb::AlarmRequest(), &response))
    return session->failure();
  return PrintAlarms(*session, response);
}

// Every alarm that is raised, one by one, as the server wants it.
int AlarmDisarm(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "alarm disarm command accepts no arguments");
  }
  etcdserverpb::AlarmResponse raised;
  if (!session->Call(kAlarmPath, etcdserverpb::AlarmRequest(), &raised)) {
    return session->failure();
  }
  etcdserverpb::AlarmResponse disarmed;  // as etcdctl's, it has no header
  for (const auto& alarm : raised.alarms()) {
    etcdserverpb::AlarmRequest request;
    request.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
    request.set_memberid(alarm.memberid());
    request.set_alarm(alarm.alarm());
    etcdserverpb::AlarmResponse response;
    if (!session->Call(kAlarmPath, request, &response)) return session->failure();
    disarmed.mutable_alarms()->MergeFrom(response.alarms());
  }
  return PrintAlarms(*session, disarmed);
}

int Defrag(Session* session) {
  const auto answers = AskEach<etcdserverpb::DefragmentResponse>(
      session, "/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest());
  int code = answers.empty() ? session->failure() : kExitOk;
  for (const auto& answer : answers) {
    const std::string took = FormatGoDuration(answer.took_ns);
    if (answer.status.ok()) {
      Out(StrCat("Finished defragmenting etcd member[", answer.endpoint, "]. took ", took, "\n"));
      continue;
    }
    std::fprintf(stderr, "Failed to defragment etcd member[%s]. took %s. (%s)\n",
                 answer.endpoint.c_str(), took.c_str(), ErrorText(answer.status).c_str());
    code = kExitError;
  }
  return code;
}

// --- move-leader

int MoveLeader(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "move-leader command needs 1 argument");
  }
  const auto target = ParseMemberId(session->words()[0]);
  if (!target.ok()) return Fail(target.status());
  // Only the leader itself hands over; the first endpoint that is the leader is asked.
  etcdserverpb::StatusResponse status;
  const std::vector<std::string> endpoints = session->values().GetList("endpoints");
  for (const std::string& endpoint : endpoints) {
    auto client = session->ClientOf(endpoint);
    if (!client.ok()) return Fail(kExitError, ToStd(client.status().message()));
    const auto asked =
        (*client)->Call("/etcdserverpb.Maintenance/Status", etcdserverpb::StatusRequest(), &status);
    if (!asked.ok()) return Fail(asked);
    if (status.leader() != status.header().member_id()) continue;
    etcdserverpb::MoveLeaderRequest request;
    request.set_targetid(*target);
    etcdserverpb::MoveLeaderResponse response;
    const auto moved = (*client)->Call("/etcdserverpb.Maintenance/MoveLeader", request, &response);
    if (!moved.ok()) return Fail(moved);
    return PrintWithoutFields(*session, response, [&] {
      return StrCat("Leadership transferred from ", Hex(status.leader()), " to ", Hex(*target),
                    "\n");
    });
  }
  return Fail(kExitBadArguments,
              StrCat("no leader endpoint given at [", StrJoin(endpoints, " "), "]"));
}

// --- downgrade

int Downgrade(Session* session, etcdserverpb::DowngradeRequest request, std::string_view what) {
  etcdserverpb::DowngradeResponse response;
  if (!session->Call("/etcdserverpb.Maintenance/Downgrade", request, &response)) {
    return session->failure();
  }
  return PrintWithoutFields(*session, response, [&] {
    return StrCat("Downgrade ", what, " success, cluster version ", response.version(), "\n");
  });
}

int DowngradeTo(Session* session, etcdserverpb::DowngradeRequest::DowngradeAction action,
                std::string_view what) {
  if (session->words().empty()) return Fail(kExitBadArguments, "TARGET_VERSION not provided");
  if (session->words().size() > 1) return Fail(kExitBadArguments, "too many arguments");
  if (session->words()[0].empty()) return Fail(kExitBadArguments, "target version not provided");
  etcdserverpb::DowngradeRequest request;
  request.set_action(action);
  request.set_version(session->words()[0]);
  return Downgrade(session, request, what);
}

int DowngradeValidate(Session* session) {
  return DowngradeTo(session, etcdserverpb::DowngradeRequest::VALIDATE, "validate");
}

int DowngradeEnable(Session* session) {
  return DowngradeTo(session, etcdserverpb::DowngradeRequest::ENABLE, "enable");
}

int DowngradeCancel(Session* session) {
  if (!session->words().empty()) return Fail(kExitBadArguments, "too many arguments");
  etcdserverpb::DowngradeRequest request;
  request.set_action(etcdserverpb::DowngradeRequest::CANCEL);
  return Downgrade(session, request, "cancel");
}

}  // namespace

std::vector<Command> MaintenanceCommands() {
  return {
      {"alarm list",
       "",
       "Lists the alarms that are raised",
       {},
       AlarmList,
       "NOSPACE: the quota is reached and writes are refused. Compact, defrag, then disarm.\n"
       "CORRUPT: members differ; see the server's log before anything else."},
      {"alarm disarm", "", "Takes back all alarms", {}, AlarmDisarm},
      {"defrag",
       "",
       "Gives free space back to the file system",
       {{"cluster", Type::kBool, "false", "Every member of the cluster.", ""}},
       Defrag,
       "One member after the other; each endpoint is asked by itself."},
      {"move-leader",
       "<transferee-member-id>",
       "Hands the lead to another member",
       {},
       MoveLeader,
       "The endpoints must include the leader's: only it hands over. `endpoint status` shows who\n"
       "leads, `member list` the ids."},
      {"downgrade validate",
       "<TARGET_VERSION>",
       "Tells whether a downgrade could begin",
       {},
       DowngradeValidate},
      {"downgrade enable",
       "<TARGET_VERSION>",
       "Begins a downgrade of the cluster",
       {},
       DowngradeEnable,
       "One minor version down: 3.6 from 3.7. `downgrade cancel` takes it back."},
      {"downgrade cancel", "", "Ends a downgrade that was begun", {}, DowngradeCancel},
  };
}

}  // namespace quorate::ctl
