// How a member comes to be: what its first start decides from the initial-* options, alone or by
// asking the members that are there already (wire facts, lifecycle §7). A restart asks none of
// this: its log knows who it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/log/log_store.h"
#include "proto/etcdserverpb.pb.h"
#include "server/config.h"

namespace quorate::server {

struct FirstStart {
  log::LogIdentity identity;
  // A new cluster: the log begins with these, by id. Empty for one that joins: it hears of the
  // members through its log.
  std::vector<etcdserverpb::Member> bootstrap;
  // Whom to talk to until then.
  std::vector<etcdserverpb::Member> known;
};

// May ask the other members over HTTP and look up names, so it may take seconds. Errors are etcd's
// texts (lifecycle §5).
absl::StatusOr<FirstStart> DecideFirstStart(const ServerConfig& config);

// "a=http://h:1,b=http://h:2,b=http://h:3": members by id, with names and sorted URLs, ids computed
// from these and the token. kInvalidArgument for a malformed text or equal URLs.
absl::StatusOr<std::vector<etcdserverpb::Member>> ParseInitialCluster(std::string_view text,
                                                                      std::string_view token);

// etcd's ids (wire facts, semantics §8): SHA-1 over sorted peer URLs and token; over member ids.
MemberId ComputeMemberId(std::vector<std::string> peer_urls, std::string_view token);
ClusterId ComputeClusterId(std::vector<MemberId> members);

// Whether both name the same addresses: as texts, or else after looking up the host names
// ("localhost" stays as it is, as with etcd). Names that cannot be looked up yet are asked again
// for as long as `patience_ns`.
absl::StatusOr<bool> PeerUrlsEqual(std::vector<std::string> a, std::vector<std::string> b,
                                   int64_t patience_ns);

// Whether --initial-advertise-peer-urls of `config` are what --initial-cluster has for this member;
// etcd's text otherwise. May look up names.
absl::Status CheckAdvertised(const ServerConfig& config, const etcdserverpb::Member& self);

// The body of GET /members.
absl::StatusOr<std::vector<etcdserverpb::Member>> ParseMembersJson(std::string_view json);

}  // namespace quorate::server
