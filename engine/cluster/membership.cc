#include "engine/cluster/membership.h"

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

void Membership::Bootstrap(const Member& member) {
  if (!members_.emplace(member.id(), member).second) return;
  Write(member);
}

void Membership::Remove(uint64_t id) {
  if (members_.erase(id) != 0) window_->Delete(kv::Table::kMembers, HexText(id));
  if (removed_.insert(id).second) {
    window_->Put(kv::Table::kMembersRemoved, HexText(id), kRemovedValue);
  }
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
  if (change.type() == raftpb::ConfChangeRemoveNode) {
    Remove(id);
    return {};
  }
  if (change.context().empty() || removed_.contains(id)) return {};
  std::optional<Member> member = ParseMemberJson(change.context());
  if (!member || member->id() != id) return unreadable;
  const auto known = members_.find(id);
  if (change.type() == raftpb::ConfChangeUpdateNode) {
    if (known == members_.end()) return {};
    known->second.mutable_peerurls()->Swap(member->mutable_peerurls());
    Write(known->second);
    return {};
  }
  const bool learner = change.type() == raftpb::ConfChangeAddLearnerNode;
  if (known == members_.end()) {
    member->set_islearner(learner);
    Bootstrap(*member);
  } else if (known->second.islearner() && !learner) {  // promoted
    known->second.set_islearner(false);
    Write(known->second);
  }
  return {};
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
