#include "engine/cluster/membership.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "proto/raftpb.pb.h"

namespace quorate::engine {
namespace {

using etcdserverpb::Member;

constexpr std::string_view kClusterVersion = "clusterVersion";
constexpr std::string_view kDowngrade = "downgrade";
constexpr std::string_view kConfState = "confState";  // in table meta, as etcd keeps it
constexpr std::string_view kRemovedValue = "removed";

std::optional<uint64_t> ParseHex(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

absl::Status Damaged(std::string_view table, std::string_view key) {
  return absl::DataLossError(StrCat("table ", table, ": key ", key,
                                    " cannot be read; restore the data directory from a backup"));
}

}  // namespace

void Membership::Write(const Member& member) {
  window_->Put(kv::Table::kMembers, HexText(member.id()), MemberToJson(member));
}

void Membership::Remove(uint64_t id) {
  if (members_.erase(id) != 0) window_->Delete(kv::Table::kMembers, HexText(id));
  if (removed_.insert(id).second) {
    window_->Put(kv::Table::kMembersRemoved, HexText(id), kRemovedValue);
  }
}

void Membership::WriteConfState() {
  std::vector<uint64_t> voters, learners;
  for (const auto& [id, member] : members_) {
    (member.islearner() ? learners : voters).push_back(id);
  }
  window_->Put(kv::Table::kMeta, kConfState, ConfStateToJson(voters, learners));
}

bool Membership::UrlsInUse(const Member& by, uint64_t but_of) const {
  for (const auto& [id, member] : members_) {
    if (id == but_of) continue;
    for (const std::string& url : member.peerurls()) {
      for (const std::string& other : by.peerurls()) {
        if (url == other) return true;
      }
    }
  }
  return false;
}

Error Membership::AddOrPromote(const MemberContext& context, Joins joins) {
  const uint64_t id = context.member.id();
  const auto known = members_.find(id);
  if (context.promote) {
    if (known == members_.end()) return errors::kMemberNotFound;
    if (!known->second.islearner()) return errors::kMemberNotLearner;
    known->second.set_islearner(false);
    Write(known->second);
    return {};
  }
  if (known != members_.end()) return errors::kMemberExist;
  if (UrlsInUse(context.member, 0)) return errors::kPeerURLExist;
  Member member = context.member;
  member.set_islearner(joins == Joins::kAsLearner);
  if (member.islearner()) {
    const auto learners = std::count_if(members_.begin(), members_.end(),
                                        [](const auto& item) { return item.second.islearner(); });
    if (learners >= options_.learners_max) return errors::kTooManyLearners;
  }
  members_.emplace(id, member);
  Write(member);
  return {};
}

Error Membership::ApplyConfChange(const Entry& entry) {
  raftpb::ConfChange change;
  const Error unreadable{15,
                         StrCat("configuration entry ", entry.index.value(), " cannot be read")};
  if (entry.type != EntryType::kConfChange ||
      !change.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size()))) {
    return unreadable;
  }
  const uint64_t id = change.node_id();
  if (removed_.contains(id)) return errors::kMemberNotFound;
  if (change.type() == raftpb::ConfChangeRemoveNode) {
    if (!members_.contains(id)) return errors::kMemberNotFound;
    Remove(id);
    WriteConfState();
    return {};
  }
  const std::optional<MemberContext> context = ParseMemberContextJson(change.context());
  if (!context || context->member.id() != id) return unreadable;
  if (change.type() == raftpb::ConfChangeUpdateNode) {
    const auto known = members_.find(id);
    if (known == members_.end()) return errors::kMemberNotFound;
    if (UrlsInUse(context->member, id)) return errors::kPeerURLExist;
    *known->second.mutable_peerurls() = context->member.peerurls();
    Write(known->second);
    return {};
  }
  const Joins joins =
      change.type() == raftpb::ConfChangeAddLearnerNode ? Joins::kAsLearner : Joins::kAsVoter;
  Error error = AddOrPromote(*context, joins);
  if (error.ok()) WriteConfState();
  return error;
}

Error Membership::SetAttributes(const membershippb::ClusterMemberAttrSetRequest& request) {
  const auto member = members_.find(request.member_id());
  if (member == members_.end()) return errors::kMemberNotFound;
  member->second.set_name(request.member_attributes().name());
  *member->second.mutable_clienturls() = request.member_attributes().client_urls();
  Write(member->second);
  return {};
}

void Membership::SetVersion(const std::string& version) {
  version_ = version;
  window_->Put(kv::Table::kCluster, kClusterVersion, version_);
}

void Membership::SetDowngrade(const membershippb::DowngradeInfoSetRequest& request) {
  downgrade_.enabled = request.enabled();
  downgrade_.target_version = request.enabled() ? request.ver() : std::string();
  window_->Put(kv::Table::kCluster, kDowngrade, DowngradeToJson(downgrade_));
}

std::vector<Member> Membership::members() const {
  std::vector<Member> out;
  for (const auto& [id, member] : members_) out.push_back(member);
  return out;
}

absl::Status Membership::Restore(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kMembers, {}, {}, [&](std::string_view key, std::string_view value) {
        const std::optional<Member> member = ParseMemberJson(value);
        if (!member || ParseHex(key) != member->id()) {
          damage = Damaged("members", key);
          return false;
        }
        members_.emplace(member->id(), *member);
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  QR_RETURN_IF_ERROR(snapshot.Scan(kv::Table::kMembersRemoved, {}, {},
                                   [&](std::string_view key, std::string_view) {
                                     const std::optional<uint64_t> id = ParseHex(key);
                                     if (!id) damage = Damaged("members_removed", key);
                                     if (id) removed_.insert(*id);
                                     return id.has_value();
                                   }));
  QR_RETURN_IF_ERROR(damage);
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kCluster, {}, {}, [&](std::string_view key, std::string_view value) {
        if (key == kClusterVersion) version_.assign(value);
        if (key == kDowngrade) {
          const std::optional<DowngradeInfo> downgrade = ParseDowngradeJson(value);
          if (!downgrade) damage = Damaged("cluster", key);
          if (downgrade) downgrade_ = *downgrade;
        }
        return damage.ok();
      }));
  return damage;
}

}  // namespace quorate::engine
