// TestAuthority: certificates for tests, in files of a temporary folder.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "transport/tls/tls_context.h"
#include "transport/tls/tls_options.h"

namespace quorate::transport {

class TestAuthority {
 public:
  struct Pair {
    std::string cert_path;
    std::string key_path;
  };
  struct Wanted {
    std::string common_name = "test";
    std::string names = "IP:127.0.0.1,IP:::1,DNS:localhost";  // subjectAltName; may be empty
    int valid_days = 30;                                      // negative: expired
  };

  TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }
  std::string ca_path() const { return path("ca.pem"); }
  // Writes or replaces FILE.pem and FILE.key.
  Pair Issue(const std::string& file, const Wanted& wanted) const;
  // Writes or replaces a list of revoked certificates.
  void Revoke(const std::vector<Pair>& pairs, const std::string& crl_path) const;

  // An end, of either side, that shows this certificate and wants to see one of this authority.
  TlsOptions OptionsOf(const Pair& pair) const;

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
  Certificate Make(EVP_PKEY* key, const Wanted& wanted, bool is_authority) const;

  const TempDir folder_;
  const Key key_;
  Certificate certificate_;
};

// CHECKs that it works.
std::shared_ptr<TlsContext> MakeTlsContext(TlsContext::Side side, const TlsOptions& options);

}  // namespace quorate::transport
