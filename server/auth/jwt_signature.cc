#include "server/auth/jwt_signature.h"

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::server {
namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Context = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;

struct MethodRow {
  std::string_view name;
  JwtSigner::Kind kind;
  const EVP_MD* (*digest)();
  int key_type;
  int curve_bits;  // of kEcdsa
};
constexpr MethodRow kMethods[] = {
    {"RS256", JwtSigner::Kind::kRsa, EVP_sha256, EVP_PKEY_RSA, 0},
    {"RS384", JwtSigner::Kind::kRsa, EVP_sha384, EVP_PKEY_RSA, 0},
    {"RS512", JwtSigner::Kind::kRsa, EVP_sha512, EVP_PKEY_RSA, 0},
    {"PS256", JwtSigner::Kind::kRsaPss, EVP_sha256, EVP_PKEY_RSA, 0},
    {"PS384", JwtSigner::Kind::kRsaPss, EVP_sha384, EVP_PKEY_RSA, 0},
    {"PS512", JwtSigner::Kind::kRsaPss, EVP_sha512, EVP_PKEY_RSA, 0},
    {"ES256", JwtSigner::Kind::kEcdsa, EVP_sha256, EVP_PKEY_EC, 256},
    {"ES384", JwtSigner::Kind::kEcdsa, EVP_sha384, EVP_PKEY_EC, 384},
    {"ES512", JwtSigner::Kind::kEcdsa, EVP_sha512, EVP_PKEY_EC, 521},
    {"EdDSA", JwtSigner::Kind::kEd25519, nullptr, EVP_PKEY_ED25519, 0},
    {"HS256", JwtSigner::Kind::kHmac, EVP_sha256, 0, 0},
    {"HS384", JwtSigner::Kind::kHmac, EVP_sha384, 0, 0},
    {"HS512", JwtSigner::Kind::kHmac, EVP_sha512, 0, 0},
};

const unsigned char* Data(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Data(std::string* text) { return reinterpret_cast<unsigned char*>(text->data()); }

int NoPassphrase(char*, int, int, void*) { return -1; }

Bio Read(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

Key ReadPrivateKey(const std::string& pem) {
  return Key(PEM_read_bio_PrivateKey(Read(pem).get(), nullptr, NoPassphrase, nullptr));
}

// A public key by itself, in either of its forms, or the one of a certificate.
Key ReadPublicKey(const std::string& pem) {
  if (X509* const certificate =
          PEM_read_bio_X509(Read(pem).get(), nullptr, NoPassphrase, nullptr)) {
    Key key(X509_get_pubkey(certificate));
    X509_free(certificate);
    return key;
  }
  EVP_PKEY* key = nullptr;
  OSSL_DECODER_CTX* const decoder = OSSL_DECODER_CTX_new_for_pkey(
      &key, "PEM", nullptr, nullptr, EVP_PKEY_PUBLIC_KEY, nullptr, nullptr);
  const Bio bio = Read(pem);
  if (OSSL_DECODER_from_bio(decoder, bio.get()) != 1) key = nullptr;
  OSSL_DECODER_CTX_free(decoder);
  return Key(key);
}

absl::StatusOr<Key> CheckKind(Key key, const MethodRow& row, std::string_view which) {
  ERR_clear_error();
  const bool fits = key != nullptr && EVP_PKEY_get_base_id(key.get()) == row.key_type &&
                    (row.curve_bits == 0 || EVP_PKEY_get_bits(key.get()) == row.curve_bits);
  if (fits) return key;
  return absl::InvalidArgumentError(StrCat("the ", which, " key is none for ", row.name));
}

class HmacSigner final : public JwtSigner {
 public:
  HmacSigner(const MethodRow* row, std::string secret) : row_(row), secret_(std::move(secret)) {}

  std::string_view method() const override { return row_->name; }
  bool can_sign() const override { return true; }
  absl::StatusOr<std::string> Sign(std::string_view text) const override {
    std::string out(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    HMAC(row_->digest(), secret_.data(), static_cast<int>(secret_.size()), Data(text), text.size(),
         Data(&out), &size);
    out.resize(size);
    return out;
  }
  bool Verify(std::string_view text, std::string_view signature) const override {
    const absl::StatusOr<std::string> expected = Sign(text);
    return expected->size() == signature.size() &&
           CRYPTO_memcmp(expected->data(), signature.data(), signature.size()) == 0;
  }

 private:
  const MethodRow* const row_;
  const std::string secret_;
};

class KeySigner final : public JwtSigner {
 public:
  KeySigner(const MethodRow* row, Key key, bool is_private)
      : row_(row), key_(std::move(key)), is_private_(is_private) {}

  std::string_view method() const override { return row_->name; }
  bool can_sign() const override { return is_private_; }

  absl::StatusOr<std::string> Sign(std::string_view text) const override {
    QR_CHECK(is_private_);
    const Context context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* parameters = nullptr;
    size_t size = 0;
    if (EVP_DigestSignInit(context.get(), &parameters, Digest(), nullptr, key_.get()) != 1 ||
        !SetPadding(parameters, RSA_PSS_SALTLEN_DIGEST) ||
        EVP_DigestSign(context.get(), nullptr, &size, Data(text), text.size()) != 1) {
      return Failed();
    }
    std::string out(size, '\0');
    if (EVP_DigestSign(context.get(), Data(&out), &size, Data(text), text.size()) != 1) {
      return Failed();
    }
    out.resize(size);
    return row_->kind == Kind::kEcdsa ? FromDer(out) : out;
  }

  bool Verify(std::string_view text, std::string_view signature) const override {
    std::string der;
    if (row_->kind == Kind::kEcdsa) {
      if (signature.size() != 2 * HalfBytes()) return false;
      der = ToDer(signature);
      signature = der;
    }
    const Context context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* parameters = nullptr;
    const bool good =
        EVP_DigestVerifyInit(context.get(), &parameters, Digest(), nullptr, key_.get()) == 1 &&
        SetPadding(parameters, RSA_PSS_SALTLEN_AUTO) &&
        EVP_DigestVerify(context.get(), Data(signature), signature.size(), Data(text),
                         text.size()) == 1;
    ERR_clear_error();
    return good;
  }

 private:
  static absl::Status Failed() {
    ERR_clear_error();
    return absl::InternalError("a token cannot be signed with the private key");
  }
  const EVP_MD* Digest() const { return row_->digest == nullptr ? nullptr : row_->digest(); }
  size_t HalfBytes() const { return (static_cast<size_t>(row_->curve_bits) + 7) / 8; }

  bool SetPadding(EVP_PKEY_CTX* parameters, int salt_bytes) const {
    if (row_->kind != Kind::kRsaPss) return true;
    return EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, salt_bytes) == 1;
  }

  // A token has the two numbers of an ECDSA signature side by side, OpenSSL a DER sequence of them.
  absl::StatusOr<std::string> FromDer(const std::string& der) const {
    const unsigned char* at = Data(der);
    const Signature parts(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    if (parts == nullptr) return Failed();
    const int half = static_cast<int>(HalfBytes());
    std::string out(2 * HalfBytes(), '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(parts.get()), Data(&out), half);
    BN_bn2binpad(ECDSA_SIG_get0_s(parts.get()), Data(&out) + half, half);
    return out;
  }
  std::string ToDer(std::string_view raw) const {
    const int half = static_cast<int>(HalfBytes());
    const Signature parts(ECDSA_SIG_new());
    ECDSA_SIG_set0(parts.get(), BN_bin2bn(Data(raw), half, nullptr),
                   BN_bin2bn(Data(raw) + half, half, nullptr));
    unsigned char* bytes = nullptr;
    const int size = i2d_ECDSA_SIG(parts.get(), &bytes);
    if (size < 0) return "";
    std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
    OPENSSL_free(bytes);
    return der;
  }

  const MethodRow* const row_;
  const Key key_;
  const bool is_private_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JwtSigner>> JwtSigner::Create(std::string_view method,
                                                             const std::string& public_key,
                                                             const std::string& private_key) {
  const MethodRow* row = nullptr;
  for (const MethodRow& known : kMethods) {
    if (known.name == method) row = &known;
  }
  if (row == nullptr) return absl::InvalidArgumentError("auth: invalid auth signature method");
  if (private_key.empty() && (public_key.empty() || row->kind == Kind::kHmac)) {
    return absl::InvalidArgumentError("auth: missing key data");
  }
  if (row->kind == Kind::kHmac) return std::make_unique<HmacSigner>(row, private_key);
  Key own, other;
  if (!private_key.empty()) {
    QR_ASSIGN_OR_RETURN(own, CheckKind(ReadPrivateKey(private_key), *row, "private"));
  }
  if (!public_key.empty()) {
    QR_ASSIGN_OR_RETURN(other, CheckKind(ReadPublicKey(public_key), *row, "public"));
  }
  if (own != nullptr && other != nullptr && EVP_PKEY_eq(own.get(), other.get()) != 1) {
    return absl::InvalidArgumentError("auth: public and private keys don't match");
  }
  const bool is_private = own != nullptr;
  return std::make_unique<KeySigner>(row, is_private ? std::move(own) : std::move(other),
                                     is_private);
}

}  // namespace quorate::server
