// --discovery-srv of the programs that stand before a cluster, `quorate gateway` and `quorate
// grpc-proxy`: the members' client URLs out of DNS.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/options.h"

namespace quorate::server {

// The four flags: discovery-srv, discovery-srv-name, insecure-discovery, and the one that names who
// may have certified the members.
std::vector<OptionSpec> DiscoveryOptionSpecs(const std::string& group);

// What --endpoints says, or with --discovery-srv the URLs out of DNS. Unless --insecure-discovery
// is set these are only those with TLS that answer to somebody who trusts `ca_flag`'s file, and
// --endpoints where none is left. May take seconds.
absl::StatusOr<std::vector<std::string>> EndpointsOf(const OptionValues& values,
                                                     const std::string& ca_flag);

}  // namespace quorate::server
