// etcdserverpb.Maintenance: Status, Alarm, Defragment, Downgrade, Hash, HashKV. What is not
// registered answers UNIMPLEMENTED; MoveLeader is with the cluster's service, Snapshot in
// snapshot_service.h.

#include <utility>

#include "base/text.h"
#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
#include "server/services/gate.h"
#include "server/services/snapshot_service.h"
#include "server/version_monitor.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Reply;

void Status(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::StatusRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadFor(context, call, Read::Consistency::kLocal, [context = &context, call](Engine& engine) {
    const ReplicaLoop::Counters& counters = context->loop->counters();
    const kv::KvSizes sizes = context->backend_writer->sizes();
    etcdserverpb::StatusResponse response;
    FillHeader(engine, response.mutable_header());
    response.set_version(kEtcdVersion);
    response.set_dbsize(static_cast<int64_t>(sizes.on_disk));
    response.set_dbsizeinuse(static_cast<int64_t>(sizes.in_use));
    response.set_dbsizequota(context->config->quota_bytes);
    response.set_leader(counters.leader.load());
    response.set_raftindex(counters.committed.load());
    response.set_raftterm(counters.term.load());
    response.set_islearner(counters.learner.load());
    response.set_raftappliedindex(engine.applied_index().value());
    response.set_storageversion(StorageVersion(engine.cluster_version()));
    const engine::DowngradeInfo downgrade = engine.downgrade();
    response.mutable_downgradeinfo()->set_enabled(downgrade.enabled);
    response.mutable_downgradeinfo()->set_targetversion(downgrade.target_version);
    if (response.leader() == 0) response.add_errors("etcdserver: no leader");
    for (const etcdserverpb::AlarmMember& alarm : engine.alarms()) {
      const std::string& name = etcdserverpb::AlarmType_Name(alarm.alarm());
      response.add_errors(StrCat("memberID:", alarm.memberid(), " alarm:",
                                 name.empty() ? StrCat(static_cast<int>(alarm.alarm())) : name));
    }
    Answer(*call, Reply{{}, response.SerializeAsString()});
  });
}

void GetAlarms(ServiceContext& context, const CallPtr& call,
               const etcdserverpb::AlarmRequest& request) {
  ReadFor(context, call, Read::Consistency::kLinearizable, [call, request](Engine& engine) {
    etcdserverpb::AlarmResponse response;
    FillHeader(engine, response.mutable_header());
    for (const etcdserverpb::AlarmMember& alarm : engine.alarms()) {
      if (request.alarm() == etcdserverpb::NONE || request.alarm() == alarm.alarm()) {
        *response.add_alarms() = alarm;
      }
    }
    Answer(*call, Reply{{}, response.SerializeAsString()});
  });
}

void Alarm(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::AlarmRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (!etcdserverpb::AlarmRequest::AlarmAction_IsValid(request.action())) {
    // A real etcd dies of it, on every member.
    return Fail(*call, {3, "etcdserver: unknown alarm action"});
  }
  if (request.action() == etcdserverpb::AlarmRequest::GET) {
    return Permit(context, call, Access::kSomebody,
                  [&context, call, request] { GetAlarms(context, call, request); });
  }
  Permit(context, call, Access::kRoot, [&context, call, bytes = std::move(bytes)]() mutable {
    ProposeFor(context, call, RaftField::kAlarm, std::move(bytes));
  });
}

void AnswerOrRun(ServiceContext& context, const CallPtr& call,
                 std::variant<Reply, std::unique_ptr<engine::ReadJob>> result) {
  if (auto* reply = std::get_if<Reply>(&result)) return Answer(*call, std::move(*reply));
  RunJob(context, call, std::get<std::unique_ptr<engine::ReadJob>>(std::move(result)));
}

void Hash(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::HashRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadFor(context, call, Read::Consistency::kLocal, [context = &context, call](Engine& engine) {
    AnswerOrRun(*context, call, engine.Hash());
  });
}

void HashKv(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::HashKVRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ReadFor(context, call, Read::Consistency::kLocal,
          [context = &context, call, revision = request.revision()](Engine& engine) {
            AnswerOrRun(*context, call, engine.HashKv(revision));
          });
}

void Defragment(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::DefragmentRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  // What is applied goes to the backend first, so that the answer speaks of all of it.
  context.loop->Run([context = &context, call](Replica& replica) {
    replica.SealNow();
    context->loop->Run([context, call](Replica&) {
      context->backend_writer->Reclaim([call](absl::Status status) {
        if (!status.ok()) return Fail(*call, {2, std::string(status.message())});
        Answer(*call, Reply{{}, etcdserverpb::DefragmentResponse().SerializeAsString()});
      });
    });
  });
}

// "3.7" of "3.7.0", as replies have it.
std::string ShortVersion(const std::string& version) {
  return version.substr(0, version.rfind('.'));
}

void AnswerDowngrade(const CallPtr& call, const Engine& engine) {
  etcdserverpb::DowngradeResponse response;
  FillHeader(engine, response.mutable_header());
  response.set_version(ShortVersion(engine.cluster_version()));
  Answer(*call, Reply{{}, response.SerializeAsString()});
}

void ProposeDowngrade(ServiceContext& context, const CallPtr& call,
                      const engine::DowngradeInfo& wanted) {
  membershippb::DowngradeInfoSetRequest request;
  request.set_enabled(wanted.enabled);
  request.set_ver(wanted.target_version);
  ProposeThen(
      context, call, RaftField::kDowngradeInfoSet, Bytes::FromString(request.SerializeAsString()),
      [&context, call](const Reply& reply) {
        if (!reply.error.ok()) return Fail(*call, reply.error);
        context.loop->Run([call](Replica& replica) { AnswerDowngrade(call, replica.engine()); });
      });
}

engine::Error MayDowngrade(const Engine& engine, const std::string& target) {
  if (engine.cluster_version().empty()) return engine::errors::kClusterVersionUnavailable;
  if (target != VersionBefore(engine.cluster_version())) {
    return engine::errors::kInvalidDowngradeTargetVersion;
  }
  if (engine.downgrade().enabled) return engine::errors::kDowngradeInProcess;
  return {};
}

void CancelDowngrade(ServiceContext& context, const CallPtr& call) {
  ReadFor(context, call, Read::Consistency::kLinearizable, [&context, call](Engine& engine) {
    const engine::DowngradeInfo now = engine.downgrade();
    if (!now.enabled) return AnswerDowngrade(call, engine);  // as etcd: no error
    ProposeDowngrade(context, call, {false, now.target_version});
  });
}

void Downgrade(ServiceContext& context, CallPtr call, Bytes bytes) {
  using Request = etcdserverpb::DowngradeRequest;
  Request request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (request.action() == Request::CANCEL) return CancelDowngrade(context, call);
  if (!Request::DowngradeAction_IsValid(request.action())) {
    return Fail(*call, engine::errors::kUnknownMethod);
  }
  const std::optional<std::string> target = ParseTargetVersion(request.version());
  if (!target) return Fail(*call, engine::errors::kWrongDowngradeVersionFormat);
  const bool enable = request.action() == Request::ENABLE;
  ReadFor(context, call, Read::Consistency::kLinearizable,
          [&context, call, target = *target, enable](Engine& engine) {
            const engine::Error refused = MayDowngrade(engine, target);
            if (!refused.ok()) return Fail(*call, refused);
            if (!enable) return AnswerDowngrade(call, engine);
            ProposeDowngrade(context, call, {true, target});
          });
}

}  // namespace

void AddMaintenanceService(ServiceContext* context, transport::ServiceTable* table) {
  AddUnaryMethods(context, "etcdserverpb.Maintenance",
                  {{"Status", Status, OnLearner::kServed},
                   {"Alarm", Alarm},
                   {"Hash", Hash},
                   {"HashKV", HashKv},
                   {"Defragment", Defragment},
                   {"Downgrade", Downgrade}},
                  table);
  AddSnapshotMethod(context, table);
}

}  // namespace quorate::server
