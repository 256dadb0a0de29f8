#include "transport/tls/tls_verify.h"

#include <openssl/bn.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"

namespace quorate::transport {
namespace {

constexpr unsigned kNameFlags =
    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

std::string SerialOf(const X509* certificate) {
  const ASN1_INTEGER* const serial = X509_get0_serialNumber(certificate);
  BIGNUM* const number = ASN1_INTEGER_to_BN(serial, nullptr);
  char* const digits = BN_bn2hex(number);
  std::string text = digits;
  OPENSSL_free(digits);
  BN_free(number);
  return text;
}

bool IsFor(X509* certificate, const std::string& host) {
  return X509_check_ip_asc(certificate, host.c_str(), kNameFlags) == 1 ||
         X509_check_host(certificate, host.data(), host.size(), kNameFlags, nullptr) == 1;
}

bool HasAllowedName(const TlsOptions& options, X509* certificate) {
  if (!options.allowed_cns.empty()) {
    const std::string name = CommonName(certificate);
    return std::find(options.allowed_cns.begin(), options.allowed_cns.end(), name) !=
           options.allowed_cns.end();
  }
  if (options.allowed_hostnames.empty()) return true;
  return std::any_of(options.allowed_hostnames.begin(), options.allowed_hostnames.end(),
                     [&](const std::string& host) { return IsFor(certificate, host); });
}

}  // namespace

int VerifyTlsPeer(int chain_is_good, X509_STORE_CTX* store) {
  auto* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* const check = static_cast<TlsPeerCheck*>(SSL_get_app_data(ssl));
  if (chain_is_good == 0) {
    check->error = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return 0;
  }
  const auto refuse = [&](int code, std::string why) {
    check->error = std::move(why);
    X509_STORE_CTX_set_error(store, code);
    return 0;
  };
  if (!check->loaded->crl_status.ok()) {
    return refuse(X509_V_ERR_UNABLE_TO_GET_CRL, std::string(check->loaded->crl_status.message()));
  }
  // Called for every certificate of the chain, from the root on.
  X509* const certificate = X509_STORE_CTX_get_current_cert(store);
  if (check->loaded->revoked_serials.contains(SerialOf(certificate))) {
    return refuse(X509_V_ERR_CERT_REVOKED,
                  StrCat("certificate with serial ", SerialOf(certificate), " is revoked"));
  }
  if (X509_STORE_CTX_get_error_depth(store) == 0 && !HasAllowedName(*check->options, certificate)) {
    return refuse(X509_V_ERR_APPLICATION_VERIFICATION, "client certificate authentication failed");
  }
  return 1;
}

int SelectTlsProtocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                      const unsigned char* offered, unsigned int offered_size, void*) {
  const auto* const check = static_cast<const TlsPeerCheck*>(SSL_get_app_data(ssl));
  unsigned char* selected = nullptr;
  const int result = SSL_select_next_proto(
      &selected, out_size, reinterpret_cast<const unsigned char*>(check->protocols.data()),
      static_cast<unsigned>(check->protocols.size()), offered, offered_size);
  *out = selected;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::string CommonName(const X509* certificate) {
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  // The last one, as Go takes it, should there be several.
  int at = -1;
  for (int next = -1; (next = X509_NAME_get_index_by_NID(subject, NID_commonName, next)) >= 0;) {
    at = next;
  }
  if (at < 0) return "";
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return "";
  std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

absl::Status CompareAddress(X509* certificate, const std::string& address,
                            std::vector<std::string>* names) {
  auto* const alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  bool has_addresses = false;
  names->clear();
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(alternatives, i);
    if (name->type == GEN_IPADD) has_addresses = true;
    if (name->type != GEN_DNS) continue;
    const ASN1_STRING* const text = name->d.dNSName;
    names->emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                        static_cast<size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(alternatives);
  if (has_addresses && X509_check_ip_asc(certificate, address.c_str(), kNameFlags) == 1) {
    names->clear();
    return absl::OkStatus();
  }
  if (has_addresses && names->empty()) {
    return absl::PermissionDeniedError(
        StrCat("the certificate is not valid for the address ", address,
               " that the connection comes from; add it to the certificate's subjectAltName, or "
               "start with --peer-skip-client-san-verification"));
  }
  return absl::OkStatus();
}

}  // namespace quorate::transport
