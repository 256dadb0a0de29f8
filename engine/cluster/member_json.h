// A member as etcd writes it into the log and the members table: JSON with a 64-bit number, which
// must not pass through a double (wire facts, formats §5).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

std::string MemberToJson(const etcdserverpb::Member& member);
// nullopt when the text is not such an object.
std::optional<etcdserverpb::Member> ParseMemberJson(std::string_view json);

}  // namespace quorate::engine
