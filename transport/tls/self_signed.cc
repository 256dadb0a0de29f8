#include "transport/tls/self_signed.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "transport/tls/tls_context.h"

namespace quorate::transport {
namespace {

constexpr int kSerialBits = 127;

using X509Pointer = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPointer = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  QR_CHECK_MSG(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// "IP:127.0.0.1,DNS:localhost". Hosts come from checked URLs: no comma is in them.
std::string AlternativeNames(const std::vector<std::string>& hosts) {
  std::vector<std::string> names;
  for (const std::string& host : hosts) {
    in6_addr address{};
    const bool is_address = inet_pton(AF_INET, host.c_str(), &address) == 1 ||
                            inet_pton(AF_INET6, host.c_str(), &address) == 1;
    names.push_back(StrCat(is_address ? "IP:" : "DNS:", host));
  }
  return StrJoin(names, ",");
}

X509Pointer MakeCertificate(const SelfSigned& wanted, EVP_PKEY* key) {
  X509Pointer certificate(X509_new(), X509_free);
  X509* const raw = certificate.get();
  X509_set_version(raw, X509_VERSION_3);
  BIGNUM* const serial = BN_new();
  QR_CHECK(BN_rand(serial, kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1);
  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(raw));
  BN_free(serial);
  X509_NAME* const name = X509_get_subject_name(raw);
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("etcd"), -1, -1, 0);
  X509_set_issuer_name(raw, name);
  X509_gmtime_adj(X509_getm_notBefore(raw), 0);
  X509_time_adj_ex(X509_getm_notAfter(raw), static_cast<int>(wanted.validity_years * 365), 0,
                   nullptr);
  X509_set_pubkey(raw, key);
  AddExtension(raw, NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(raw, NID_key_usage, "critical,digitalSignature,keyEncipherment");
  AddExtension(raw, NID_ext_key_usage, "serverAuth,clientAuth");
  const std::string names = AlternativeNames(wanted.hosts);
  if (!names.empty()) AddExtension(raw, NID_subject_alt_name, names);
  QR_CHECK(X509_sign(raw, key, EVP_sha512()) > 0);
  return certificate;
}

template <class Writer>
absl::Status WritePem(const std::string& path, mode_t mode, Writer write) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  FILE* const file = fd < 0 ? nullptr : fdopen(fd, "w");
  if (file == nullptr) {
    return absl::UnavailableError(StrCat("open ", path, ": ", std::strerror(errno)));
  }
  const bool written = write(file) == 1;
  if (fclose(file) != 0 || !written) {
    return absl::UnavailableError(StrCat("write ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MakeSelfSigned(const SelfSigned& wanted) {
  if (wanted.validity_years <= 0) {
    return absl::InvalidArgumentError(
        "selfSignedCertValidity is invalid,it should be greater than 0 "
        "(--self-signed-cert-validity, in years)");
  }
  std::error_code error;
  std::filesystem::create_directories(wanted.folder, error);
  if (error) return absl::UnavailableError(StrCat("mkdir ", wanted.folder, ": ", error.message()));
  if (access(wanted.cert_path().c_str(), F_OK) == 0 &&
      access(wanted.key_path().c_str(), F_OK) == 0) {
    return absl::OkStatus();
  }
  const KeyPointer key(EVP_EC_gen("P-521"), EVP_PKEY_free);
  QR_CHECK(key != nullptr);
  const X509Pointer certificate = MakeCertificate(wanted, key.get());
  QR_RETURN_IF_ERROR(WritePem(wanted.key_path(), 0600, [&](FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  }));
  QR_RETURN_IF_ERROR(WritePem(wanted.cert_path(), 0644,
                              [&](FILE* file) { return PEM_write_X509(file, certificate.get()); }));
  LogWarn("automatically generate certificates",
          {{"cert-file", wanted.cert_path()},
           {"certificate-validity-bound-not-after-days", wanted.validity_years * 365}});
  return absl::OkStatus();
}

}  // namespace quorate::transport
