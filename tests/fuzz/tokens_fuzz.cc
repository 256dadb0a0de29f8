// What a call may bring to say who asks: signed tokens as noise, with a header and claims of the
// fuzzer's under a good signature, with another signature, and simple tokens. A token that was made
// here is known, and none that was changed. Input: kind, then parts.
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/file_env.h"
#include "base/json_text.h"
#include "base/temp_dir.h"
#include "base/text.h"
#include "engine/auth/simple_tokens.h"
#include "server/auth/jwt.h"
#include "server/auth/jwt_signature.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file
using server::Jwt;
using server::JwtSigner;

constexpr int64_t kNowNs = int64_t{1'700'000'000} * 1'000'000'000;

std::string PrivatePem(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  QR_CHECK(PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  EVP_PKEY_free(key);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);  // NOLINT: OpenSSL's type
  std::string pem(bytes, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

// One of each way a signature is written: a hash, a pair of numbers, a string of fixed length.
struct Method {
  std::unique_ptr<JwtSigner> signer;
  std::unique_ptr<Jwt> jwt;
};

std::vector<Method> AllMethods() {
  const TempDir folder;
  std::vector<Method> methods;
  const auto add = [&](const std::string& name, const std::string& key) {
    const std::string path = folder.path() + "/" + name;
    QR_CHECK(WriteFileAtomically(PosixFileEnv(), path, key).ok());
    auto signer = JwtSigner::Create(name, "", key);
    auto jwt = Jwt::Load({.method = name, .public_key_file = {}, .private_key_file = path});
    QR_CHECK_MSG(signer.ok() && jwt.ok(), name);
    methods.push_back({*std::move(signer), *std::move(jwt)});
  };
  add("HS256", "a secret");
  add("ES256", PrivatePem(EVP_EC_gen("P-256")));
  add("EdDSA", PrivatePem(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")));
  return methods;
}

std::string Encode(std::string_view part) { return absl::WebSafeBase64Escape(ToAbsl(part)); }

void TakeSigned(const Method& method, fuzz::FuzzInput* input) {
  const bool own_header = input->Byte() % 2 == 0;
  const std::string header =
      own_header ? std::string(input->Part())
                 : StrCat(R"({"alg":")", method.signer->method(), R"(","typ":"JWT"})");
  const std::string text = StrCat(Encode(header), ".", Encode(input->Rest()));
  const absl::StatusOr<std::string> signature = method.signer->Sign(text);
  QR_CHECK(signature.ok());
  const auto claims = method.jwt->Verify(StrCat(text, ".", Encode(*signature)), kNowNs);
  if (claims) QR_CHECK(static_cast<double>(kNowNs) / 1e9 < claims->expires_s);
}

void TakeChanged(const Method& method, fuzz::FuzzInput* input) {
  const std::string name(input->Part());
  if (!IsUtf8(name)) return;  // no user has it
  const uint64_t revision = input->Number();
  const absl::StatusOr<std::string> token = method.jwt->Sign(name, revision, kNowNs);
  QR_CHECK(token.ok());
  const auto claims = method.jwt->Verify(*token, kNowNs);
  if (claims) QR_CHECK(claims->username == name && claims->revision == revision);
  std::vector<std::string_view> parts = StrSplit(*token, '.');
  const size_t place = input->Byte() % 3;
  const std::string other = Encode(input->Rest());
  if (other == parts[place]) return;
  parts[place] = other;
  QR_CHECK(!method.jwt->Verify(StrCat(parts[0], ".", parts[1], ".", parts[2]), kNowNs));
}

void TakeSimple(fuzz::FuzzInput* input) {
  engine::SimpleTokens tokens({});
  const LogIndex index(input->Number() + 1);
  tokens.Assign("abcdefghijklmnop", index, "user");
  const std::string made = engine::SimpleTokens::Text("abcdefghijklmnop", index);
  QR_CHECK(tokens.Find(made) == "user");
  const std::string_view token = input->Rest();
  engine::SimpleTokens::IndexOf(token);
  QR_CHECK(token == made || !tokens.Find(token));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const methods = new std::vector<Method>(AllMethods());
  fuzz::FuzzInput input(data, size);
  const Method& method = (*methods)[input.Byte() % methods->size()];
  switch (input.Byte() % 4) {
    case 0:
      method.jwt->Verify(input.Rest(), kNowNs);
      break;
    case 1:
      TakeSigned(method, &input);
      break;
    case 2:
      TakeChanged(method, &input);
      break;
    default:
      TakeSimple(&input);
      break;
  }
  return 0;
}
