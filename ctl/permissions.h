// Permissions of roles, as etcdctl reads and writes them.
#pragma once

#include <string>

#include "ctl/session.h"

namespace quorate::ctl {

// A role with what it permits, in the format that was asked for. Answers the exit code.
int PrintRole(const Session& session, const std::string& role,
              const etcdserverpb::AuthRoleGetResponse& response);

struct KeyInterval {
  std::string key;
  std::string range_end;  // empty: the one key; one zero byte: all after it
};
// From the words at `first` on ("key [endkey]") with --prefix or --from-key.
absl::StatusOr<KeyInterval> PermittedInterval(const Session& session, size_t first);

}  // namespace quorate::ctl
