// DNS SRV records (RFC 2782): which hosts and ports serve something in a domain. Asked by the
// system's resolver, with the name servers of /etc/resolv.conf. Any thread; blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quorate::transport {

struct SrvRecord {
  uint16_t priority = 0;
  uint16_t weight = 0;
  std::string host;  // without the dot behind it
  uint16_t port = 0;
};

// Of _service._tcp.domain, by priority, within one by falling weight. kNotFound when there are
// none, kUnavailable when nobody could be asked.
absl::StatusOr<std::vector<SrvRecord>> LookUpSrv(std::string_view service, std::string_view domain);

// "etcd-client" or "etcd-client-ssl" for https, with "-name" behind it where a name is given: what
// etcd asks for.
std::string SrvServiceName(std::string_view service, std::string_view name, bool https);

// URLs of a cluster for its clients: those of _etcd-client-ssl as https, of _etcd-client as http.
// An error when there are neither.
absl::StatusOr<std::vector<std::string>> LookUpClientUrls(std::string_view domain,
                                                          std::string_view service_name);

}  // namespace quorate::transport
