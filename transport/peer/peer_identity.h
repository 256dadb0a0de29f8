// Who a member says it is on a peer connection, and whether another one may talk to it: the X-...
// headers of etcd's rafthttp and their checks. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "transport/server.h"

namespace quorate::transport {

struct PeerIdentity {
  MemberId self;
  ClusterId cluster;
  std::string server_version;       // "3.7.1"
  std::string min_cluster_version;  // "3.0.0"
  std::vector<std::string> urls;    // advertised
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// Lower hex without padding, as etcd writes ids in paths and headers; nullopt for anything else.
std::string HexId(uint64_t id);
std::optional<uint64_t> ParseHexId(std::string_view text);

// First value by lower-case name; empty when absent.
std::string_view FindHeader(const HeaderList& headers, std::string_view lower_name);

// What every request to a peer carries; `to` for streams only.
HeaderList IdentityHeaders(const PeerIdentity& identity, std::optional<MemberId> to);

// A refusal by the version or the cluster id of the caller ("incompatible version",
// "cluster ID mismatch", both 412); nullopt when it may go on. Headers that say nothing of a
// version are of etcd 2.0.
struct Refusal {
  int status;
  std::string text;
};
std::optional<Refusal> CheckIdentity(const HeaderList& headers, const PeerIdentity& self);

// Texts that both ends know.
inline constexpr std::string_view kIncompatibleVersion = "incompatible version";
inline constexpr std::string_view kClusterIdMismatch = "cluster ID mismatch";

}  // namespace quorate::transport
