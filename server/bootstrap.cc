#include "server/bootstrap.h"

#include <netdb.h>
#include <openssl/sha.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "server/discovery.h"
#include "server/http_client.h"
#include "transport/client.h"

namespace quorate::server {
namespace {

using etcdserverpb::Member;

constexpr int64_t kAskTimeoutNs = kNanosPerSecond;  // one peer, as etcd
constexpr int64_t kLookUpPatienceNs = 30 * kNanosPerSecond;

uint64_t FirstEightBytesOfSha1(const std::string& data) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest);
  uint64_t id = 0;
  for (int i = 0; i < 8; ++i) id = id << 8 | digest[i];
  return id;
}

std::vector<std::string> UrlsOf(const Member& member) {
  return {member.peerurls().begin(), member.peerurls().end()};
}

const Member* FindByName(const std::vector<Member>& members, const std::string& name) {
  for (const Member& member : members) {
    if (member.name() == name) return &member;
  }
  return nullptr;
}

// "host:port" with the host looked up, an IPv4 address if there is one.
absl::StatusOr<std::string> Resolved(const std::string& url) {
  if (url.starts_with("unix:") || url.starts_with("unixs:")) return url;
  QR_ASSIGN_OR_RETURN(const auto endpoint, transport::ParseEndpoint(url));
  const std::string& host = endpoint.host;
  if (host == "localhost") return url;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) return absl::UnavailableError(StrCat("lookup ", host, ": ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  const addrinfo* best = found;
  for (const addrinfo* item = found; item != nullptr; item = item->ai_next) {
    if (item->ai_family == AF_INET) {
      best = item;
      break;
    }
  }
  char text[NI_MAXHOST];
  if (getnameinfo(best->ai_addr, best->ai_addrlen, text, sizeof(text), nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return absl::UnavailableError(StrCat("lookup ", host, ": no address"));
  }
  const bool https = endpoint.scheme == transport::Endpoint::Scheme::kHttps;
  return StrCat(https ? "https://" : "", text, ":", endpoint.port);
}

absl::StatusOr<std::vector<std::string>> ResolvedAll(const std::vector<std::string>& urls,
                                                     int64_t patience_ns) {
  const SystemClock clock;
  const int64_t give_up_ns = clock.MonotonicNs() + patience_ns;
  std::vector<std::string> out;
  for (const std::string& url : urls) {
    absl::StatusOr<std::string> resolved = Resolved(url);
    while (absl::IsUnavailable(resolved.status()) && clock.MonotonicNs() < give_up_ns) {
      LogWarn("failed to resolve URL host; retrying", {{"url", url}, resolved.status()});
      std::this_thread::sleep_for(std::chrono::seconds(1));
      resolved = Resolved(url);
    }
    if (!resolved.ok()) return resolved.status();
    out.push_back(*std::move(resolved));
  }
  std::sort(out.begin(), out.end());
  return out;
}

struct RemoteCluster {
  ClusterId cluster;
  std::vector<Member> members;
};

// The first answer to GET /members.
absl::StatusOr<RemoteCluster> AskForMembers(const ServerConfig& config,
                                            const std::vector<std::string>& urls) {
  for (const std::string& url : urls) {
    absl::StatusOr<HttpAnswer> answer = CallHttp(
        {.url = url, .path = "/members", .timeout_ns = kAskTimeoutNs, .tls = config.tls.peer_dial});
    if (!answer.ok()) {
      LogWarn("failed to get cluster response", {{"address", url + "/members"}, answer.status()});
      continue;
    }
    absl::StatusOr<std::vector<Member>> members = ParseMembersJson(answer->body);
    const std::string id_text = answer->Header("x-etcd-cluster-id");
    uint64_t id = 0;
    const auto [end, error] =
        std::from_chars(id_text.data(), id_text.data() + id_text.size(), id, 16);
    if (answer->status != 200 || !members.ok() || error != std::errc() ||
        end != id_text.data() + id_text.size()) {
      LogWarn("failed to unmarshal cluster response",
              {{"address", url + "/members"}, {"status", answer->status}});
      continue;
    }
    if (!members->empty()) return RemoteCluster{ClusterId(id), *std::move(members)};
  }
  return absl::UnavailableError("could not retrieve cluster information from the given URLs");
}

std::vector<std::string> UrlsOfOthers(const std::vector<Member>& members, uint64_t self) {
  std::vector<std::string> urls;
  for (const Member& member : members) {
    if (member.id() == self) continue;
    urls.insert(urls.end(), member.peerurls().begin(), member.peerurls().end());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

absl::StatusOr<FirstStart> StartNew(const ServerConfig& config, std::vector<Member> members) {
  const Member self = *FindByName(members, config.name);
  QR_RETURN_IF_ERROR(CheckAdvertised(config, self));
  const absl::StatusOr<RemoteCluster> there =
      AskForMembers(config, UrlsOfOthers(members, self.id()));
  if (there.ok()) {
    for (const Member& member : there->members) {
      if (member.id() == self.id() && member.clienturls_size() != 0) {
        return absl::FailedPreconditionError(
            StrCat("member ", HexText(self.id()), " has already been bootstrapped"));
      }
    }
  }
  FirstStart start;
  std::vector<MemberId> ids;
  for (const Member& member : members) ids.push_back(MemberId(member.id()));
  start.identity = {MemberId(self.id()), ComputeClusterId(ids)};
  start.bootstrap = members;
  start.known = std::move(members);
  return start;
}

absl::StatusOr<FirstStart> JoinExisting(const ServerConfig& config, std::vector<Member> members) {
  const Member self = *FindByName(members, config.name);
  absl::StatusOr<RemoteCluster> there = AskForMembers(config, UrlsOfOthers(members, self.id()));
  if (!there.ok()) {
    return absl::UnavailableError(
        StrCat("cannot fetch cluster info from peer urls: ", there.status().message()));
  }
  const auto mismatch = [&](std::string_view why) {
    return absl::FailedPreconditionError(
        StrCat("error validating peerURLs ", config.initial_cluster, ": ", why));
  };
  if (there->members.size() != members.size()) return mismatch("member count is unequal");
  FirstStart start;
  start.identity.cluster = there->cluster;
  for (const Member& remote : there->members) {
    const Member* match = nullptr;
    for (const Member& local : members) {
      QR_ASSIGN_OR_RETURN(const bool equal,
                          PeerUrlsEqual(UrlsOf(remote), UrlsOf(local), kLookUpPatienceNs));
      if (equal) match = &local;
    }
    if (match == nullptr) {
      return mismatch(StrCat("PeerURLs: no match found for existing member (", HexText(remote.id()),
                             ", [", StrJoin(UrlsOf(remote), " "), "])"));
    }
    if (match->name() == config.name) start.identity.member = MemberId(remote.id());
    start.known.push_back(remote);
  }
  return start;
}

}  // namespace

absl::Status CheckAdvertised(const ServerConfig& config, const Member& self) {
  std::vector<std::string> advertised = config.advertise_peer_urls;
  std::sort(advertised.begin(), advertised.end());
  QR_ASSIGN_OR_RETURN(const bool equal, PeerUrlsEqual(UrlsOf(self), advertised, kLookUpPatienceNs));
  if (equal) return absl::OkStatus();
  // Whichever side lacks one of the other's.
  for (const std::string& url : self.peerurls()) {
    if (std::find(advertised.begin(), advertised.end(), url) != advertised.end()) continue;
    return absl::InvalidArgumentError(
        StrCat("--initial-cluster has ", url,
               " but missing from --initial-advertise-peer-urls=", StrJoin(advertised, ",")));
  }
  return absl::InvalidArgumentError(
      StrCat("--initial-advertise-peer-urls has ", StrJoin(advertised, ","),
             " but missing from --initial-cluster=", config.initial_cluster));
}

MemberId ComputeMemberId(std::vector<std::string> peer_urls, std::string_view token) {
  std::sort(peer_urls.begin(), peer_urls.end());
  return MemberId(FirstEightBytesOfSha1(StrCat(StrJoin(peer_urls, ""), token)));
}

ClusterId ComputeClusterId(std::vector<MemberId> members) {
  std::sort(members.begin(), members.end());
  std::string data;
  for (MemberId member : members) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      data.push_back(static_cast<char>(member.value() >> shift));
    }
  }
  return ClusterId(FirstEightBytesOfSha1(data));
}

absl::StatusOr<bool> PeerUrlsEqual(std::vector<std::string> a, std::vector<std::string> b,
                                   int64_t patience_ns) {
  if (a.size() != b.size()) return false;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (a == b) return true;
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> resolved_a, ResolvedAll(a, patience_ns));
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> resolved_b, ResolvedAll(b, patience_ns));
  return resolved_a == resolved_b;
}

absl::StatusOr<std::vector<Member>> ParseInitialCluster(std::string_view text,
                                                        std::string_view token) {
  std::map<std::string, std::vector<std::string>> by_name;
  std::set<std::string> urls;
  for (std::string_view item : StrSplit(text, ',')) {
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (item.empty()) continue;
    const auto [name, url] = SplitOnce(item, '=');
    if (name.empty() || url.empty()) {
      return absl::InvalidArgumentError(
          StrCat("--initial-cluster: \"", item, "\" is not of the form name=url"));
    }
    if (!urls.insert(std::string(url)).second) {
      return absl::InvalidArgumentError(
          StrCat("initial cluster ", text, " has duplicate url ", url));
    }
    by_name[std::string(name)].emplace_back(url);
  }
  std::vector<Member> members;
  for (auto& [name, member_urls] : by_name) {
    std::sort(member_urls.begin(), member_urls.end());
    Member member;
    member.set_id(ComputeMemberId(member_urls, token).value());
    member.set_name(name);
    for (const std::string& url : member_urls) member.add_peerurls(url);
    members.push_back(std::move(member));
  }
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.id() < b.id(); });
  return members;
}

absl::StatusOr<std::vector<Member>> ParseMembersJson(std::string_view text) {
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return absl::InvalidArgumentError("not a list of members");
  std::vector<Member> members;
  for (const nlohmann::json& item : list) {
    std::optional<Member> member = engine::ParseMemberJson(item.dump());
    if (!member) return absl::InvalidArgumentError("not a list of members");
    members.push_back(*std::move(member));
  }
  return members;
}

absl::StatusOr<FirstStart> DecideFirstStart(const ServerConfig& config) {
  QR_ASSIGN_OR_RETURN(const InitialCluster cluster, FindInitialCluster(config));
  QR_ASSIGN_OR_RETURN(std::vector<Member> members,
                      ParseInitialCluster(cluster.text, cluster.token));
  if (FindByName(members, config.name) == nullptr) {
    return absl::InvalidArgumentError(StrCat("couldn't find local name \"", config.name,
                                             "\" in the initial cluster configuration"));
  }
  return config.initial_cluster_state == InitialClusterState::kNew
             ? StartNew(config, std::move(members))
             : JoinExisting(config, std::move(members));
}

}  // namespace quorate::server
