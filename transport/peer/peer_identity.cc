#include "transport/peer/peer_identity.h"

#include <charconv>
#include <cstdint>

#include "absl/strings/str_join.h"

namespace quorate::transport {
namespace {

struct Version {
  uint32_t major = 0;
  uint32_t minor = 0;
  auto operator<=>(const Version&) const = default;
};

// "3.7.1", "3.4.0-rc.1": only major and minor count.
std::optional<Version> ParseVersion(std::string_view text) {
  Version version;
  const char* end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc() || minor.ptr == end || *minor.ptr != '.') return std::nullopt;
  return version;
}

std::optional<Version> VersionIn(const HeaderList& headers, std::string_view name) {
  const std::string_view text = FindHeader(headers, name);
  return ParseVersion(text.empty() ? "2.0.0" : text);
}

}  // namespace

std::string HexId(uint64_t id) {
  char text[16];
  const auto result = std::to_chars(text, text + sizeof(text), id, 16);
  return std::string(text, result.ptr);
}

std::optional<uint64_t> ParseHexId(std::string_view text) {
  uint64_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return id;
}

std::string_view FindHeader(const HeaderList& headers, std::string_view lower_name) {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return {};
}

HeaderList IdentityHeaders(const PeerIdentity& identity, std::optional<MemberId> to) {
  HeaderList headers = {
      {"X-Server-From", HexId(identity.self.value())},
      {"X-Server-Version", identity.server_version},
      {"X-Min-Cluster-Version", identity.min_cluster_version},
      {"X-Etcd-Cluster-ID", HexId(identity.cluster.value())},
      {"X-PeerURLs", absl::StrJoin(identity.urls, ",")},
  };
  if (to.has_value()) headers.emplace_back("X-Raft-To", HexId(to->value()));
  return headers;
}

std::optional<Refusal> CheckIdentity(const HeaderList& headers, const PeerIdentity& self) {
  constexpr int kPreconditionFailed = 412;
  const std::optional<Version> server = VersionIn(headers, "x-server-version");
  const std::optional<Version> min_cluster = VersionIn(headers, "x-min-cluster-version");
  const bool compatible = server.has_value() && min_cluster.has_value() &&
                          *server >= ParseVersion(self.min_cluster_version) &&
                          *min_cluster <= ParseVersion(self.server_version);
  if (!compatible) return Refusal{kPreconditionFailed, std::string(kIncompatibleVersion)};
  if (FindHeader(headers, "x-etcd-cluster-id") != HexId(self.cluster.value())) {
    return Refusal{kPreconditionFailed, std::string(kClusterIdMismatch)};
  }
  return std::nullopt;
}

}  // namespace quorate::transport
