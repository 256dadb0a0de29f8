// What OpenSSL asks back while it shakes hands: is this certificate accepted, which protocol is
// spoken. Beside the chain, which OpenSSL checks, stand etcd's own rules: allowed names, revoked
// serial numbers, addresses.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "transport/tls/tls_context.h"

namespace quorate::transport {

// Of one connection; its SSL object's app data.
struct TlsPeerCheck {
  const TlsOptions* options = nullptr;
  std::shared_ptr<const TlsLoaded> loaded;
  std::string protocols;  // ALPN, as on the wire, best first
  std::string error;      // why the other side's certificate was refused
};

// For SSL_CTX_set_verify and SSL_CTX_set_alpn_select_cb.
int VerifyTlsPeer(int chain_is_good, X509_STORE_CTX* store);
int SelectTlsProtocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                      const unsigned char* offered, unsigned int offered_size, void*);

// The common name; empty without one.
std::string CommonName(const X509* certificate);

// As etcd's peers compare the address that a connection comes from with the certificate shown on
// it: one that names no addresses and no hosts is fine; else one of its addresses must be this
// one, or one of its host names must lead to it. Those are put into *names when looking them up
// must decide.
absl::Status CompareAddress(X509* certificate, const std::string& address,
                            std::vector<std::string>* names);

}  // namespace quorate::transport
