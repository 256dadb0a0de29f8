#include "transport/tls/tls_context.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "transport/tls/tls_verify.h"

namespace quorate::transport {
namespace {

constexpr char kTls13Suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// Larger files are no certificates.
constexpr std::streamoff kFileBytesMax = 64 << 20;

using X509Pointer = std::unique_ptr<X509, decltype(&X509_free)>;

// A PEM file may hold a password-protected key; nobody is there to type it.
int NoPassword(char*, int, int, void*) { return -1; }

absl::Status FileError(const TlsFile& file, std::string_view what, std::string_view way_out) {
  return absl::InvalidArgumentError(StrCat(file.flag, ": ", what, "; ", way_out));
}

absl::StatusOr<std::string> ReadFile(const TlsFile& file) {
  const auto cannot_open = [&](int error) {
    std::string reason = std::strerror(error);
    reason[0] = static_cast<char>(std::tolower(reason[0]));
    return FileError(file, StrCat("open ", file.path, ": ", reason),
                     "check the path, and that this user may read the file");
  };
  struct stat info {};
  if (stat(file.path.c_str(), &info) != 0) return cannot_open(errno);
  if (S_ISDIR(info.st_mode)) return cannot_open(EISDIR);
  std::ifstream in(file.path, std::ios::binary);
  if (!in) return cannot_open(errno);
  if (info.st_size > kFileBytesMax) return cannot_open(EFBIG);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Every certificate in `pem`; an error when there is none, or one that cannot be read.
absl::StatusOr<std::vector<X509Pointer>> ReadCertificates(const TlsFile& file) {
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  std::vector<X509Pointer> found;
  ERR_clear_error();
  while (X509* certificate = PEM_read_bio_X509_AUX(bio.get(), nullptr, NoPassword, nullptr)) {
    found.emplace_back(certificate, X509_free);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string error = TakeOpensslError();
  if (!at_end) {
    return FileError(file, StrCat(file.path, ": broken certificate: ", error),
                     "write it anew; openssl x509 -in FILE -text must be able to show it");
  }
  if (found.empty()) {
    return FileError(file,
                     StrCat("tls: failed to find any PEM data in certificate input ", file.path),
                     "it must hold a block that begins with -----BEGIN CERTIFICATE-----");
  }
  return found;
}

void WarnIfNotValidNow(const TlsFile& file, const X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    LogWarn("certificate has expired; others will refuse it",
            {{"flag", file.flag}, {"path", file.path}});
  } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    LogWarn("certificate is not valid yet; others will refuse it",
            {{"flag", file.flag}, {"path", file.path}});
  }
}

absl::Status UseCertificate(SSL_CTX* context, const TlsFile& cert, const TlsFile& key) {
  if (cert.given() != key.given()) {
    return absl::InvalidArgumentError(
        StrCat("KeyFile and CertFile must both be present[key: ", key.path, ", cert: ", cert.path,
               "]; give both ", cert.flag, " and ", key.flag, ", or neither"));
  }
  if (!cert.given()) return absl::OkStatus();
  QR_ASSIGN_OR_RETURN(std::vector<X509Pointer> chain, ReadCertificates(cert));
  QR_ASSIGN_OR_RETURN(const std::string key_text, ReadFile(key));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())), BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> private_key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr), EVP_PKEY_free);
  if (private_key == nullptr) {
    return FileError(key, StrCat(key.path, ": no private key can be read: ", TakeOpensslError()),
                     "it must hold one in PEM, without a password");
  }
  if (X509_check_private_key(chain.front().get(), private_key.get()) != 1) {
    ERR_clear_error();
    return FileError(key,
                     StrCat("tls: private key does not match public key: ", key.path,
                            " does not belong to ", cert.path),
                     "the certificate itself must stand first in its file, before its chain");
  }
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, private_key.get()) != 1) {
    return FileError(cert, StrCat(cert.path, ": ", TakeOpensslError()),
                     "use a key of at least 2048 bits (RSA) or 256 bits (EC)");
  }
  WarnIfNotValidNow(cert, chain.front().get());
  for (size_t i = 1; i < chain.size(); ++i) {
    QR_CHECK(SSL_CTX_add0_chain_cert(context, chain[i].get()) == 1);
    static_cast<void>(chain[i].release());
  }
  return absl::OkStatus();
}

absl::Status UseRoots(SSL_CTX* context, const TlsFile& file, TlsContext::Side side) {
  if (!file.given()) {
    SSL_CTX_set_default_verify_paths(context);
    return absl::OkStatus();
  }
  QR_ASSIGN_OR_RETURN(const std::vector<X509Pointer> roots, ReadCertificates(file));
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const X509Pointer& root : roots) {
    X509_STORE_add_cert(store, root.get());
    // Tells clients which of their certificates may do.
    if (side == TlsContext::Side::kServer) SSL_CTX_add_client_CA(context, root.get());
  }
  // What the file holds is trusted, root or not, as in Go.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return absl::OkStatus();
}

void AddRevoked(X509_CRL* list, std::set<std::string>* serials) {
  STACK_OF(X509_REVOKED)* const revoked = X509_CRL_get_REVOKED(list);
  for (int i = 0; i < sk_X509_REVOKED_num(revoked); ++i) {
    BIGNUM* const number = ASN1_INTEGER_to_BN(
        X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i)), nullptr);
    char* const digits = BN_bn2hex(number);
    serials->insert(digits);
    OPENSSL_free(digits);
    BN_free(number);
  }
}

absl::Status ReadRevoked(const TlsFile& file, std::set<std::string>* serials) {
  if (!file.given()) return absl::OkStatus();
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  const bool is_pem = text.find("-----BEGIN") != std::string::npos;
  size_t lists = 0;
  while (X509_CRL* list = is_pem ? PEM_read_bio_X509_CRL(bio.get(), nullptr, NoPassword, nullptr)
                                 : d2i_X509_CRL_bio(bio.get(), nullptr)) {
    AddRevoked(list, serials);
    X509_CRL_free(list);
    ++lists;
  }
  ERR_clear_error();
  if (lists > 0) return absl::OkStatus();
  return FileError(file, StrCat(file.path, " holds no list of revoked certificates"),
                   "openssl crl -in FILE -text must be able to show it (PEM or DER)");
}

int ProtocolNumber(TlsVersion version) {
  switch (version) {
    case TlsVersion::kAutomatic:
      return 0;
    case TlsVersion::kTls12:
      return TLS1_2_VERSION;
    case TlsVersion::kTls13:
      return TLS1_3_VERSION;
  }
  return 0;
}

void SetFixedRules(SSL_CTX* context, TlsContext::Side side) {
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // An idle connection holds no record buffers.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  if (side == TlsContext::Side::kServer) {
    SSL_CTX_set_alpn_select_cb(context, SelectTlsProtocol, nullptr);
  }
}

}  // namespace

std::string TakeOpensslError() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

absl::StatusOr<std::shared_ptr<TlsContext>> TlsContext::Create(Side side, TlsOptions options) {
  if (!options.allowed_cns.empty() && !options.allowed_hostnames.empty()) {
    return absl::InvalidArgumentError(
        StrCat("AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"",
               StrJoin(options.allowed_cns, "\" \""), "\"], hostnames=[\"",
               StrJoin(options.allowed_hostnames, "\" \""), "\"])"));
  }
  if (side == Side::kServer && options.empty()) {
    return absl::InvalidArgumentError(StrCat("a TLS server needs a certificate: give ",
                                             options.cert.flag, " and ", options.key.flag));
  }
  std::shared_ptr<TlsContext> context(new TlsContext(side, std::move(options)));
  context->stamps_ = context->Stamps();
  QR_ASSIGN_OR_RETURN(context->loaded_, context->Load());
  QR_RETURN_IF_ERROR(context->loaded_->crl_status);
  return context;
}

absl::StatusOr<std::shared_ptr<const TlsLoaded>> TlsContext::Load() const {
  auto loaded = std::make_shared<TlsLoaded>();
  loaded->context.reset(
      SSL_CTX_new(side_ == Side::kServer ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* const context = loaded->context.get();
  QR_CHECK(context != nullptr);
  SetFixedRules(context, side_);
  SSL_CTX_set_min_proto_version(context, ProtocolNumber(options_.version_min));
  SSL_CTX_set_max_proto_version(context, ProtocolNumber(options_.version_max));
  QR_ASSIGN_OR_RETURN(const std::string ciphers, OpensslCipherList(options_.cipher_suites));
  if (SSL_CTX_set_cipher_list(context, ciphers.c_str()) != 1) {
    return absl::InvalidArgumentError(
        StrCat("no cipher suite of \"", ciphers, "\" is in this machine's OpenSSL"));
  }
  QR_CHECK(SSL_CTX_set_ciphersuites(context, kTls13Suites) == 1);
  QR_RETURN_IF_ERROR(UseCertificate(context, options_.cert, options_.key));
  if (options_.other_side == TlsOptions::OtherSide::kRequired) {
    QR_RETURN_IF_ERROR(UseRoots(context, options_.trusted_ca, side_));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, VerifyTlsPeer);
    loaded->crl_status = ReadRevoked(options_.crl, &loaded->revoked_serials);
  }
  return loaded;
}

std::vector<TlsContext::Stamp> TlsContext::Stamps() const {
  std::vector<Stamp> stamps;
  for (const TlsFile* file : {&options_.cert, &options_.key, &options_.trusted_ca, &options_.crl}) {
    Stamp& stamp = stamps.emplace_back();
    struct stat info {};
    if (!file->given() || stat(file->path.c_str(), &info) != 0) continue;
    stamp = {info.st_mtim.tv_sec * kNanosPerSecond + info.st_mtim.tv_nsec, info.st_size,
             info.st_ino};
  }
  return stamps;
}

std::shared_ptr<const TlsLoaded> TlsContext::Current() {
  std::lock_guard lock(mutex_);
  // Looked at before they are read: what changes meanwhile is read again next time.
  std::vector<Stamp> stamps = Stamps();
  if (stamps == stamps_) return loaded_;
  stamps_ = std::move(stamps);
  absl::StatusOr<std::shared_ptr<const TlsLoaded>> fresh = Load();
  if (!fresh.ok()) {
    LogWarn("changed certificate files cannot be used; the previous ones stay in force",
            {{"error", std::string(fresh.status().message())}});
    return loaded_;
  }
  loaded_ = *std::move(fresh);
  if (!loaded_->crl_status.ok()) {
    LogWarn("the list of revoked certificates cannot be used; every certificate is refused",
            {{"error", std::string(loaded_->crl_status.message())}});
  } else {
    LogInfo("loaded changed certificate files",
            {{"cert", options_.cert.path}, {"trusted-ca", options_.trusted_ca.path}});
  }
  return loaded_;
}

void TlsContext::Begin(TlsHandshake* handshake) {
  std::lock_guard lock(handshakes_mutex_);
  QR_CHECK(!handshake->listed_);
  if (handshakes_ >= options_.handshakes_max) {
    TlsHandshake* const oldest = oldest_;
    Unlink(oldest);
    oldest->Abandon();
  }
  handshake->listed_ = true;
  handshake->older_ = newest_;
  handshake->newer_ = nullptr;
  (newest_ != nullptr ? newest_->newer_ : oldest_) = handshake;
  newest_ = handshake;
  ++handshakes_;
}

void TlsContext::End(TlsHandshake* handshake) {
  std::lock_guard lock(handshakes_mutex_);
  Unlink(handshake);
}

void TlsContext::Unlink(TlsHandshake* handshake) {
  if (!handshake->listed_) return;
  handshake->listed_ = false;
  (handshake->older_ != nullptr ? handshake->older_->newer_ : oldest_) = handshake->newer_;
  (handshake->newer_ != nullptr ? handshake->newer_->older_ : newest_) = handshake->older_;
  --handshakes_;
}

}  // namespace quorate::transport
