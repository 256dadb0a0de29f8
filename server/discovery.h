// Who the first members of a new cluster are, where --initial-cluster does not say so: by a
// registry in another cluster (--discovery-*, etcd's v3 discovery, whose keys under /_etcd/registry
// these are), or by DNS SRV records (--discovery-srv).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/options.h"
#include "transport/tls/tls_options.h"

namespace quorate::server {

struct ServerConfig;

struct DiscoveryConfig {
  // The registry; no endpoints: not asked.
  std::string token;
  std::vector<std::string> endpoints;
  int64_t dial_timeout_ns = 0;
  int64_t request_timeout_ns = 0;
  int64_t keepalive_time_ns = 0;
  int64_t keepalive_timeout_ns = 0;
  bool insecure_transport = true;
  transport::TlsOptions tls;
  std::string user;
  std::string password;
  // DNS; no domain: not asked.
  std::string srv_domain;
  std::string srv_name;

  bool given() const { return !endpoints.empty() || !srv_domain.empty(); }
};

// kInvalidArgument with etcd's texts.
absl::StatusOr<DiscoveryConfig> MakeDiscoveryConfig(const OptionValues& values);

struct InitialCluster {
  std::string text;   // as --initial-cluster
  std::string token;  // from which ids are computed
};

// What `config` says, or what discovery finds: that may wait for as long as members are missing
// that shall come. A signal that asks to stop ends the process while it waits.
absl::StatusOr<InitialCluster> FindInitialCluster(const ServerConfig& config);

// --- parts, for tests

// What members have registered, under their keys: the first `size` by creation.
class DiscoveredMembers {
 public:
  explicit DiscoveredMembers(std::string_view token);

  const std::string& size_key() const { return size_key_; }
  const std::string& members_prefix() const { return members_prefix_; }
  std::string KeyOf(MemberId id) const;

  // False for what is none, or known already.
  bool Add(std::string_view key, std::string_view value, int64_t create_revision);
  size_t count() const { return members_.size(); }
  // Whether the member of that key has a place, or may still take one.
  bool HasPlaceFor(std::string_view key, size_t size) const;
  std::string InitialClusterText(size_t size) const;

 private:
  struct Entry {
    std::string key;
    std::string value;  // "name=url,name=url"
    int64_t create_revision;
  };
  std::string size_key_;
  std::string members_prefix_;
  std::vector<Entry> members_;  // by revision
};

}  // namespace quorate::server
