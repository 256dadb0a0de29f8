// The JSON texts of the cluster tables and of configuration entries, as etcd writes them. Member
// ids are 64-bit numbers that must not pass through a double (wire facts, formats §2 and §5).
// Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

std::string MemberToJson(const etcdserverpb::Member& member);
// nullopt when the text is not such an object; keys that are not known are skipped.
std::optional<etcdserverpb::Member> ParseMemberJson(std::string_view json);

std::string DowngradeToJson(const DowngradeInfo& downgrade);
std::optional<DowngradeInfo> ParseDowngradeJson(std::string_view json);

}  // namespace quorate::engine
