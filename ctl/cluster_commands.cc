// endpoint status, health, hashkv; member list; alarm list, disarm; defrag. Commands that look at
// each endpoint go on after one that fails, and then exit with 1.
#include <algorithm>
#include <cstdio>

#include "base/json_text.h"
#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

const char* YesNo(bool value) { return value ? "true" : "false"; }

// What one endpoint said.
template <class Response>
struct Answer {
  std::string endpoint;
  Response response;
  transport::RpcStatus status;
  int64_t took_ns = 0;
};

// Calls one method on each endpoint by itself.
template <class Response>
std::vector<Answer<Response>> AskEach(Session* session, std::string_view path,
                                      const google::protobuf::Message& request) {
  const SystemClock clock;
  std::vector<Answer<Response>> answers;
  for (const std::string& endpoint : session->Endpoints()) {
    Answer<Response>& answer = answers.emplace_back();
    answer.endpoint = endpoint;
    const int64_t begin_ns = clock.MonotonicNs();
    auto client = session->ClientOf(endpoint);
    answer.status = client.ok() ? (*client)->Call(path, request, &answer.response)
                                : transport::RpcStatus{transport::RpcCode::kInvalidArgument,
                                                       std::string(client.status().message())};
    answer.took_ns = clock.MonotonicNs() - begin_ns;
  }
  return answers;
}

// Tells failed answers on standard error and takes them out. Answers the exit code so far.
template <class Response>
int TellFailures(std::string_view what, std::vector<Answer<Response>>* answers) {
  if (answers->empty()) return kExitError;  // the endpoints could not be had: told
  int code = kExitOk;
  for (const auto& answer : *answers) {
    if (answer.status.ok()) continue;
    code = kExitError;
    std::fprintf(stderr, "Failed to get the %s of endpoint %s (%s)\n", std::string(what).c_str(),
                 answer.endpoint.c_str(), answer.status.message.c_str());
  }
  std::erase_if(*answers, [](const auto& answer) { return !answer.status.ok(); });
  return code;
}

std::string Array(const std::vector<std::string>& items) {
  return StrCat("[", StrJoin(items, ","), "]\n");
}

std::string Lines(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (const auto& row : rows) StrAppend(&out, StrJoin(row, ", "), "\n");
  return out;
}

// --- endpoint status

using etcdserverpb::StatusResponse;

std::vector<std::string> StatusRow(const Answer<StatusResponse>& answer) {
  const StatusResponse& r = answer.response;
  const int64_t unused = r.dbsize() > 0 ? (r.dbsize() - r.dbsizeinuse()) * 100 / r.dbsize() : 0;
  const auto size = [](int64_t bytes) { return HumanBytes(static_cast<uint64_t>(bytes)); };
  return {answer.endpoint,
          Hex(r.header().member_id()),
          r.version(),
          r.storageversion(),
          size(r.dbsize()),
          size(r.dbsizeinuse()),
          StrCat(unused, "%"),
          size(r.dbsizequota()),
          YesNo(r.leader() == r.header().member_id()),
          YesNo(r.islearner()),
          StrCat(r.raftterm()),
          StrCat(r.raftindex()),
          StrCat(r.raftappliedindex()),
          StrJoin(r.errors(), ", "),
          r.downgradeinfo().targetversion(),
          YesNo(r.downgradeinfo().enabled())};
}

std::string StatusFields(const Session& session, const Answer<StatusResponse>& answer) {
  const StatusResponse& r = answer.response;
  std::vector<std::string> errors;
  for (const std::string& error : r.errors()) errors.push_back(GoQuote(error));
  return StrCat(HeaderFields(session, r.header()), "\"Version\" : ", GoQuote(r.version()),
                "\n\"StorageVersion\" : ", GoQuote(r.storageversion()),
                "\n\"DBSize\" : ", r.dbsize(), "\n\"DBSizeInUse\" : ", r.dbsizeinuse(),
                "\n\"DBSizeQuota\" : ", r.dbsizequota(), "\n",
                IdField(session, "Leader", r.leader()), "\"IsLearner\" : ", YesNo(r.islearner()),
                "\n\"RaftIndex\" : ", r.raftindex(), "\n\"RaftTerm\" : ", r.raftterm(),
                "\n\"RaftAppliedIndex\" : ", r.raftappliedindex(), "\n\"Errors\" : [",
                StrJoin(errors, " "), "]\n\"Endpoint\" : ", GoQuote(answer.endpoint),
                "\n\"DowngradeTargetVersion\" : ", GoQuote(r.downgradeinfo().targetversion()),
                "\n\"DowngradeEnabled\" : ", YesNo(r.downgradeinfo().enabled()), "\n\n");
}

int Status(Session* session) {
  auto answers = AskEach<StatusResponse>(session, "/etcdserverpb.Maintenance/Status",
                                         etcdserverpb::StatusRequest());
  const int code = TellFailures("status", &answers);
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> json;
  std::string fields;
  for (const auto& answer : answers) {
    rows.push_back(StatusRow(answer));
    fields += StatusFields(*session, answer);
    json.push_back(StrCat("{\"Endpoint\":", JsonString(answer.endpoint),
                          ",\"Status\":", GoJson(answer.response), "}"));
  }
  switch (session->format()) {
    case Format::kSimple:
      Out(Lines(rows));
      return code;
    case Format::kFields:
      Out(fields);
      return code;
    case Format::kJson:
      Out(Array(json));
      return code;
    case Format::kTable:
      Out(BoxTable(
          {"ENDPOINT", "ID", "VERSION", "STORAGE VERSION", "DB SIZE", "IN USE",
           "PERCENTAGE NOT IN USE", "QUOTA", "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX",
           "RAFT APPLIED INDEX", "ERRORS", "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED"},
          rows));
      return code;
    case Format::kProtobuf:
      return Fail(kExitBadFeature, "protobuf not supported as output format");
  }
  return code;
}

// --- endpoint hashkv

int HashKv(Session* session) {
  etcdserverpb::HashKVRequest request;
  request.set_revision(session->values().GetInt("rev"));
  auto answers =
      AskEach<etcdserverpb::HashKVResponse>(session, "/etcdserverpb.Maintenance/HashKV", request);
  // After a line for each that failed, the last reason once more.
  std::string error;
  for (const auto& answer : answers) {
    if (!answer.status.ok()) error = answer.status.message;
  }
  int code = TellFailures("hash", &answers);
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> json;
  std::string fields;
  for (const auto& answer : answers) {
    const auto& r = answer.response;
    rows.push_back({answer.endpoint, StrCat(r.hash()), StrCat(r.hash_revision())});
    StrAppend(&fields, HeaderFields(*session, r.header()),
              "\"Endpoint\" : ", GoQuote(answer.endpoint), "\n\"Hash\" : ", r.hash(),
              "\n\"HashRevision\" : ", r.hash_revision(), "\n\n");
    json.push_back(
        StrCat("{\"Endpoint\":", JsonString(answer.endpoint), ",\"HashKV\":", GoJson(r), "}"));
  }
  switch (session->format()) {
    case Format::kSimple:
      Out(Lines(rows));
      break;
    case Format::kFields:
      Out(fields);
      break;
    case Format::kJson:
      Out(Array(json));
      break;
    case Format::kTable:
      Out(BoxTable({"ENDPOINT", "HASH", "HASH REVISION"}, rows));
      break;
    case Format::kProtobuf:
      code = Fail(kExitBadFeature, "protobuf not supported as output format");
      break;
  }
  return error.empty() ? code : Fail(code, error);
}

// --- endpoint health

struct Health {
  std::string endpoint;
  std::string took;
  std::string error;
  bool healthy = false;
};

// Healthy: a linearizable read is answered, if only by a refusal of rights, and no alarm is raised.
Health HealthOf(const Session& session, const Answer<etcdserverpb::RangeResponse>& read) {
  Health health{read.endpoint, FormatGoDuration(read.took_ns), "", true};
  if (!read.status.ok() && read.status.code != transport::RpcCode::kPermissionDenied) {
    health.healthy = false;
    health.error = read.status.message;
    return health;
  }
  auto client = session.ClientOf(read.endpoint);
  if (!client.ok()) return health;
  etcdserverpb::AlarmResponse alarms;
  const auto status =
      (*client)->Call("/etcdserverpb.Maintenance/Alarm", etcdserverpb::AlarmRequest(), &alarms);
  if (!status.ok()) {
    health.healthy = false;
    health.error = "Unable to fetch the alarm list";
  } else if (alarms.alarms_size() > 0) {
    health.healthy = false;
    health.error = "Active Alarm(s): ";
    for (const auto& alarm : alarms.alarms()) {
      StrAppend(&health.error, etcdserverpb::AlarmType_Name(alarm.alarm()), " ");
    }
  }
  return health;
}

std::string HealthJson(const Health& health) {
  return StrCat("{\"endpoint\":", JsonString(health.endpoint),
                ",\"health\":", YesNo(health.healthy), ",\"took\":", JsonString(health.took),
                health.error.empty() ? "" : StrCat(",\"error\":", JsonString(health.error)), "}");
}

int PrintHealth(const Session& session, const std::vector<Health>& all) {
  std::vector<std::string> json;
  std::vector<std::vector<std::string>> rows;
  for (const Health& health : all) {
    json.push_back(HealthJson(health));
    rows.push_back({health.endpoint, YesNo(health.healthy), health.took, health.error});
    if (session.format() == Format::kFields) {
      Out(StrCat("\"Endpoint\" : ", GoQuote(health.endpoint),
                 "\n\"Health\" : ", YesNo(health.healthy), "\n\"Took\" : ", health.took,
                 "\n\"Error\" : ", health.error, "\n\n"));
    } else if (session.format() == Format::kSimple) {
      if (health.healthy) {
        Out(StrCat(health.endpoint,
                   " is healthy: successfully committed proposal: took = ", health.took, "\n"));
      } else {
        std::fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n",
                     health.endpoint.c_str(), health.error.c_str());
      }
    }
  }
  if (session.format() == Format::kJson) Out(Array(json));
  if (session.format() == Format::kTable)
    Out(BoxTable({"ENDPOINT", "HEALTH", "TOOK", "ERROR"}, rows));
  if (std::any_of(all.begin(), all.end(), [](const Health& h) { return !h.healthy; })) {
    return Fail(kExitError, "unhealthy cluster");
  }
  return kExitOk;
}

int HealthCommand(Session* session) {
  if (session->format() == Format::kProtobuf) {
    return Fail(kExitBadFeature, "protobuf not supported as output format");
  }
  etcdserverpb::RangeRequest request;
  request.set_key("health");
  const auto reads =
      AskEach<etcdserverpb::RangeResponse>(session, "/etcdserverpb.KV/Range", request);
  if (reads.empty()) return kExitError;
  std::vector<Health> all;
  for (const auto& read : reads) all.push_back(HealthOf(*session, read));
  return PrintHealth(*session, all);
}

// --- member list

std::string MemberFields(const Session& session, const etcdserverpb::MemberListResponse& r) {
  std::string out = StrCat(IdField(session, "ClusterID", r.header().cluster_id()),
                           IdField(session, "MemberID", r.header().member_id()),
                           "\"RaftTerm\" : ", r.header().raft_term(), "\n");
  for (const auto& member : r.members()) {
    StrAppend(&out, IdField(session, "ID", member.id()), "\"Name\" : ", GoQuote(member.name()),
              "\n");
    for (const std::string& url : member.peerurls()) {
      StrAppend(&out, "\"PeerURL\" : ", GoQuote(url), "\n");
    }
    for (const std::string& url : member.clienturls()) {
      StrAppend(&out, "\"ClientURL\" : ", GoQuote(url), "\n");
    }
    StrAppend(&out, "\"IsLearner\" : ", YesNo(member.islearner()), "\n\n");
  }
  return out;
}

int MemberList(Session* session) {
  const std::string& consistency = session->values().GetString("consistency");
  if (consistency != "l" && consistency != "s") {
    return Fail(kExitBadFeature, StrCat("unknown consistency flag \"", consistency, "\""));
  }
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(consistency == "l");
  etcdserverpb::MemberListResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberList", request, &response)) return kExitError;
  std::vector<std::vector<std::string>> rows;
  for (const auto& member : response.members()) {
    rows.push_back({Hex(member.id()), member.name().empty() ? "unstarted" : "started",
                    member.name(), StrJoin(member.peerurls(), ","),
                    StrJoin(member.clienturls(), ","), YesNo(member.islearner())});
  }
  if (session->format() == Format::kTable) {
    Out(BoxTable({"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, rows));
    return kExitOk;
  }
  if (session->format() == Format::kJson) {
    Out(GoJson(response, session->hex() ? IdForm::kHex : IdForm::kDecimal) + "\n");
    return kExitOk;
  }
  return PrintMessage(
      *session, response, [&] { return Lines(rows); },
      [&] { return MemberFields(*session, response); });
}

// --- alarm, defrag

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
  etcdserverpb::AlarmResponse response;
  if (!session->Call(kAlarmPath, etcdserverpb::AlarmRequest(), &response)) return kExitError;
  return PrintAlarms(*session, response);
}

// Every alarm that is raised, one by one, as the server wants it.
int AlarmDisarm(Session* session) {
  etcdserverpb::AlarmResponse raised;
  if (!session->Call(kAlarmPath, etcdserverpb::AlarmRequest(), &raised)) return kExitError;
  etcdserverpb::AlarmResponse disarmed;  // as etcdctl's, it has no header
  for (const auto& alarm : raised.alarms()) {
    etcdserverpb::AlarmRequest request;
    request.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
    request.set_memberid(alarm.memberid());
    request.set_alarm(alarm.alarm());
    etcdserverpb::AlarmResponse response;
    if (!session->Call(kAlarmPath, request, &response)) return kExitError;
    disarmed.mutable_alarms()->MergeFrom(response.alarms());
  }
  return PrintAlarms(*session, disarmed);
}

int Defrag(Session* session) {
  const auto answers = AskEach<etcdserverpb::DefragmentResponse>(
      session, "/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest());
  int code = answers.empty() ? kExitError : kExitOk;
  for (const auto& answer : answers) {
    const std::string took = FormatGoDuration(answer.took_ns);
    if (answer.status.ok()) {
      Out(StrCat("Finished defragmenting etcd member[", answer.endpoint, "]. took ", took, "\n"));
      continue;
    }
    std::fprintf(stderr, "Failed to defragment etcd member[%s]. took %s. (%s)\n",
                 answer.endpoint.c_str(), took.c_str(), answer.status.message.c_str());
    code = kExitError;
  }
  return code;
}

}  // namespace

std::vector<Command> ClusterCommands() {
  const OptionSpec cluster{"cluster", Type::kBool, "false", "Every member of the cluster.", ""};
  return {
      {"endpoint status", "", "Shows version, size, leader and indexes", {cluster}, Status},
      {"endpoint health",
       "",
       "Tells whether reads are answered, and how fast",
       {cluster},
       HealthCommand},
      {"endpoint hashkv",
       "",
       "Shows a checksum over the key history",
       {cluster, {"rev", Type::kInt, "0", "Up to this revision; 0 means the newest.", ""}},
       HashKv},
      {"member list",
       "",
       "Lists the members of the cluster",
       {{"consistency", Type::kString, "l", "Linearizable(l) or Serializable(s).", ""}},
       MemberList},
      {"alarm list", "", "Lists the alarms that are raised", {}, AlarmList},
      {"alarm disarm", "", "Takes back all alarms", {}, AlarmDisarm},
      {"defrag", "", "Gives free space back to the file system", {cluster}, Defrag},
  };
}

}  // namespace quorate::ctl
