// TlsOptions: what one end of TLS is told: its own certificate, whom it trusts, which names it
// accepts, versions and cipher suites. Plain values; tls_context.h makes them work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quorate::transport {

// A file and the flag that names it, so that an error can say what to change.
struct TlsFile {
  std::string flag;  // "--cert-file"
  std::string path;  // empty: not given
  bool given() const { return !path.empty(); }
};

enum class TlsVersion : uint8_t { kAutomatic, kTls12, kTls13 };

struct TlsOptions {
  // PEM. The certificate may be followed by the chain that leads to a root; both or none.
  TlsFile cert;
  TlsFile key;
  // PEM: what the other side's certificate must lead to. Not given: the system's roots.
  TlsFile trusted_ca;
  // PEM or DER: serial numbers that are not accepted, whoever issued them (as etcd compares).
  TlsFile crl;
  // kRequired: a server refuses clients without a certificate that leads to the trusted roots; a
  // client refuses servers whose certificate does not, or does not name the host that was called.
  enum class OtherSide : uint8_t { kNotAsked, kRequired } other_side = OtherSide::kNotAsked;
  // The common name must be one of these, or the certificate must be valid for one of these host
  // names. At most one of the two lists is set.
  std::vector<std::string> allowed_cns;
  std::vector<std::string> allowed_hostnames;
  // Servers: the client's address must be one that its certificate names (etcd's rule for peers).
  enum class ClientAddress : uint8_t { kNotCompared, kMustMatch };
  ClientAddress client_address = ClientAddress::kNotCompared;
  // Servers: handshakes under way at one time; one more ends the oldest. Honest ones take
  // milliseconds.
  size_t handshakes_max = 1024;
  TlsVersion version_min = TlsVersion::kTls12;
  TlsVersion version_max = TlsVersion::kAutomatic;
  // Of TLS 1.2, by the names that Go and IANA use. Empty: those with forward secrecy and
  // authenticated encryption.
  std::vector<std::string> cipher_suites;

  bool empty() const { return !cert.given() && !key.given(); }
};

// "TLS1.2", "TLS1.3", or "" for automatic; etcd's words otherwise.
absl::StatusOr<TlsVersion> ParseTlsVersion(std::string_view text);

// OpenSSL's list for TLS 1.2. Names of TLS 1.3 suites are known and left out: those are always on.
// kInvalidArgument names what is unknown or not in this build of OpenSSL.
absl::StatusOr<std::string> OpensslCipherList(const std::vector<std::string>& names);

}  // namespace quorate::transport
