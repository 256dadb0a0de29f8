// The JSON texts of the cluster tables and of configuration entries, as etcd writes them. Member
// ids are 64-bit numbers that must not pass through a double (wire facts, formats §2 and §5).
// Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

std::string MemberToJson(const etcdserverpb::Member& member);
// nullopt when the text is not such an object; keys that are not known are skipped.
std::optional<etcdserverpb::Member> ParseMemberJson(std::string_view json);

// A configuration entry's context: a member, and whether it is a learner that becomes a voter.
struct MemberContext {
  etcdserverpb::Member member;
  bool promote = false;
};
std::string MemberContextToJson(const MemberContext& context);
std::optional<MemberContext> ParseMemberContextJson(std::string_view json);

// {"voters":[1,2],"auto_leave":false}, with "learners" when there are any. Ids ascend.
std::string ConfStateToJson(const std::vector<uint64_t>& voters,
                            const std::vector<uint64_t>& learners);

std::string DowngradeToJson(const DowngradeInfo& downgrade);
std::optional<DowngradeInfo> ParseDowngradeJson(std::string_view json);

}  // namespace quorate::engine
