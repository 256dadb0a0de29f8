#include "server/force_new_cluster.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "consensus/conf_change.h"
#include "engine/cluster/member_json.h"
#include "server/data_dir.h"

namespace quorate::server {
namespace {

Entry EntryOf(const consensus::ConfChange& change, Term term, LogIndex index) {
  consensus::EncodedConfChange encoded = consensus::EncodeConfChange(change);
  return {term, index, encoded.type, std::move(encoded.data)};
}

consensus::ConfChange ChangeOf(consensus::ConfChangeType type, MemberId member) {
  consensus::ConfChange change;
  change.changes.push_back({type, member});
  return change;
}

}  // namespace

absl::Status ForceNewCluster(const ServerConfig& config, const engine::Engine& engine,
                             log::LogStore* log) {
  const MemberId self = log->identity().member;
  HardState state = log->hard_state();
  const LogIndex commit_before = state.commit;
  state.commit = log->last_index();
  // The members after everything that is there.
  consensus::ConfState members;
  for (const etcdserverpb::Member& member : engine.members()) {
    (member.islearner() ? members.learners : members.voters).push_back(MemberId(member.id()));
  }
  QR_ASSIGN_OR_RETURN(const std::vector<Entry> entries, EntriesAfter(*log, engine.applied_index()));
  for (const Entry& entry : entries) {
    if (entry.type == EntryType::kNormal) continue;
    QR_ASSIGN_OR_RETURN(const consensus::ConfChange change,
                        consensus::DecodeConfChange(entry.type, entry.data));
    const absl::StatusOr<consensus::ConfState> next = consensus::ChangeConf(members, change);
    if (next.ok()) members = *next;
  }
  std::vector<Entry> forced;
  if (!members.IsVoter(self)) {
    consensus::ConfChange change = ChangeOf(consensus::ConfChangeType::kAddVoter, self);
    engine::MemberContext context;
    context.member.set_id(self.value());
    for (const std::string& url : config.advertise_peer_urls) context.member.add_peerurls(url);
    context.promote = members.IsLearner(self);
    change.context = Bytes::FromString(engine::MemberContextToJson(context));
    forced.push_back(EntryOf(change, state.term, ++state.commit));
  }
  for (const MemberId member : members.Members()) {
    if (member == self) continue;
    const consensus::ConfChange change = ChangeOf(consensus::ConfChangeType::kRemoveMember, member);
    forced.push_back(EntryOf(change, state.term, ++state.commit));
  }
  LogInfo("forcing restart member", {{"cluster-id", HexText(log->identity().cluster.value())},
                                     {"local-member-id", HexText(self.value())},
                                     {"wal-commit-index", commit_before.value()},
                                     {"commit-index", state.commit.value()}});
  if (forced.empty()) return absl::OkStatus();
  QR_RETURN_IF_ERROR(log->Append(forced, &state));
  return log->Sync();
}

}  // namespace quorate::server
