// etcd's marks of compactions in bucket meta; the values are 17-byte revision keys with sub 0.
#pragma once

#include <string_view>

namespace quorate::engine {

inline constexpr std::string_view kScheduledCompactRev = "scheduledCompactRev";
inline constexpr std::string_view kFinishedCompactRev = "finishedCompactRev";

}  // namespace quorate::engine
