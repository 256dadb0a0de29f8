// Certificates that a server makes for itself (--auto-tls, --peer-auto-tls): encryption without
// anybody to vouch for who is at the other end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

namespace quorate::transport {

struct SelfSigned {
  std::string folder;              // gets cert.pem and key.pem, the names that etcd uses
  std::vector<std::string> hosts;  // names and addresses that the certificate is for
  int64_t validity_years = 1;      // of 365 days
  std::string cert_path() const { return folder + "/cert.pem"; }
  std::string key_path() const { return folder + "/key.pem"; }
};

// Leaves files that are there as they are; makes the folder. ECDSA with P-521, as etcd.
absl::Status MakeSelfSigned(const SelfSigned& wanted);

}  // namespace quorate::transport
