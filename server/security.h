// TLS of a server: what the flags say of both ends, and the contexts made of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"
#include "transport/tls/tls_context.h"

namespace quorate::server {

struct ServerConfig;

// Of one end: towards clients, towards other members.
struct EndSecurity {
  transport::TlsOptions listen;
  // Shown when dialling, in place of the listening one's.
  transport::TlsFile dial_cert;
  transport::TlsFile dial_key;
  bool auto_tls = false;
  // --client-cert-auth itself; certificates are also asked for when there is only a CA to trust.
  bool cert_auth = false;
};

struct SecurityConfig {
  EndSecurity client;
  EndSecurity peer;
  int64_t self_signed_validity_years = 1;
};

// Made once at start; null where TLS is not used.
struct TlsContexts {
  std::shared_ptr<transport::TlsContext> client;
  std::shared_ptr<transport::TlsContext> peer;
  std::shared_ptr<transport::TlsContext> peer_dial;
};

// kInvalidArgument with etcd's texts.
absl::StatusOr<SecurityConfig> MakeSecurityConfig(const OptionValues& values);

// Loads the files (and makes those of --auto-tls under the data directory) for the URLs that are
// https or unixs. Sets config->tls.
absl::Status LoadTls(ServerConfig* config);

}  // namespace quorate::server
