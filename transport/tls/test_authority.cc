#include "transport/tls/test_authority.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>

#include "base/check.h"

namespace quorate::transport {
namespace {

// In one step: a server that looks meanwhile sees the old file or the new one.
template <class Writer>
void WriteFile(const std::string& path, Writer write) {
  const std::string fresh = path + ".new";
  FILE* const file = std::fopen(fresh.c_str(), "w");
  QR_CHECK(file != nullptr);
  QR_CHECK(write(file) == 1);
  QR_CHECK(std::fclose(file) == 0);
  std::filesystem::rename(fresh, path);
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  QR_CHECK_MSG(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

TestAuthority::TestAuthority()
    : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(nullptr, X509_free) {
  certificate_ = Make(key_.get(), {"test authority", "", 30}, true);
  WriteFile(ca_path(), [&](FILE* file) { return PEM_write_X509(file, certificate_.get()); });
}

TestAuthority::Certificate TestAuthority::Make(EVP_PKEY* key, const Wanted& wanted,
                                               bool is_authority) const {
  static long last_serial = 0;
  Certificate made(X509_new(), X509_free);
  X509* const raw = made.get();
  X509_set_version(raw, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(raw), ++last_serial);
  X509_NAME* const name = X509_get_subject_name(raw);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(wanted.common_name.c_str()), -1,
                             -1, 0);
  X509_set_issuer_name(raw, is_authority ? name : X509_get_subject_name(certificate_.get()));
  X509_time_adj_ex(X509_getm_notBefore(raw), wanted.valid_days - 60, 0, nullptr);
  X509_time_adj_ex(X509_getm_notAfter(raw), wanted.valid_days, 0, nullptr);
  X509_set_pubkey(raw, key);
  AddExtension(raw, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!wanted.names.empty()) AddExtension(raw, NID_subject_alt_name, wanted.names);
  QR_CHECK(X509_sign(raw, key_.get(), EVP_sha256()) > 0);
  return made;
}

TestAuthority::Pair TestAuthority::Issue(const std::string& file, const Wanted& wanted) const {
  const Pair pair{path(file + ".pem"), path(file + ".key")};
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate made = Make(key.get(), wanted, false);
  WriteFile(pair.key_path, [&](FILE* out) {
    return PEM_write_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  WriteFile(pair.cert_path, [&](FILE* out) { return PEM_write_X509(out, made.get()); });
  return pair;
}

void TestAuthority::Revoke(const std::vector<Pair>& pairs, const std::string& crl_path) const {
  const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), X509_CRL_free);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get()));
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> now(X509_gmtime_adj(nullptr, 0),
                                                                  ASN1_TIME_free);
  X509_CRL_set1_lastUpdate(list.get(), now.get());
  for (const Pair& pair : pairs) {
    FILE* const file = std::fopen(pair.cert_path.c_str(), "r");
    QR_CHECK(file != nullptr);
    const Certificate certificate(PEM_read_X509(file, nullptr, nullptr, nullptr), X509_free);
    std::fclose(file);
    X509_REVOKED* const revoked = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(certificate.get()));
    X509_REVOKED_set_revocationDate(revoked, now.get());
    X509_CRL_add0_revoked(list.get(), revoked);
  }
  QR_CHECK(X509_CRL_sign(list.get(), key_.get(), EVP_sha256()) > 0);
  WriteFile(crl_path, [&](FILE* file) { return PEM_write_X509_CRL(file, list.get()); });
}

TlsOptions TestAuthority::OptionsOf(const Pair& pair) const {
  TlsOptions options;
  options.cert = {"--cert-file", pair.cert_path};
  options.key = {"--key-file", pair.key_path};
  options.trusted_ca = {"--trusted-ca-file", ca_path()};
  options.other_side = TlsOptions::OtherSide::kRequired;
  return options;
}

std::shared_ptr<TlsContext> MakeTlsContext(TlsContext::Side side, const TlsOptions& options) {
  auto made = TlsContext::Create(side, options);
  QR_CHECK_MSG(made.ok(), std::string(made.status().message()));
  return *std::move(made);
}

}  // namespace quorate::transport
