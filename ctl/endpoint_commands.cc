// endpoint status, health, hashkv.
#include <algorithm>
#include <cstdio>

#include "base/json_text.h"
#include "base/text.h"
#include "ctl/ask_each.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

const char* YesNo(bool value) { return value ? "true" : "false"; }

std::string Array(const std::vector<std::string>& items) {
  return StrCat("[", StrJoin(items, ","), "]\n");
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
                "\n\"DBSizeQuota\" : ", r.dbsizequota(), "\n\"Leader\" : ", r.leader(),
                "\n\"IsLearner\" : ", YesNo(r.islearner()), "\n\"RaftIndex\" : ", r.raftindex(),
                "\n\"RaftTerm\" : ", r.raftterm(),
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
      Out(RowLines(rows));
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
    if (!answer.status.ok()) error = ErrorText(answer.status);
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
      Out(RowLines(rows));
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
Health HealthOf(Session* session, const Answer<etcdserverpb::RangeResponse>& read) {
  Health health{read.endpoint, FormatGoDuration(read.took_ns), "", true};
  if (!read.status.ok() && read.status.code != transport::RpcCode::kPermissionDenied) {
    health.healthy = false;
    health.error = ErrorText(read.status);
    return health;
  }
  auto client = session->ClientOf(read.endpoint);
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
  for (const auto& read : reads) all.push_back(HealthOf(session, read));
  return PrintHealth(*session, all);
}

}  // namespace

std::vector<Command> EndpointCommands() {
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
  };
}

}  // namespace quorate::ctl
