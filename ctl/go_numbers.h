// Numbers as Go's strconv reads them, with its words for what is none: they stand in etcdctl's
// errors.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace quorate::ctl {

// kInvalidArgument `strconv.ParseInt: parsing "zz": invalid syntax` and so on.
absl::StatusOr<int64_t> ParseGoInt(std::string_view text, int base);
absl::StatusOr<uint64_t> ParseGoUint(std::string_view text, int base);

// Ids of leases and members are written in hexadecimal.
inline absl::StatusOr<int64_t> ParseLeaseId(std::string_view text) { return ParseGoInt(text, 16); }
inline absl::StatusOr<uint64_t> ParseMemberId(std::string_view text) {
  return ParseGoUint(text, 16);
}

}  // namespace quorate::ctl
