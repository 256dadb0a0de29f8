#include "server/auth/password.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <memory>

#include "base/text.h"

namespace quorate::server {
namespace {

constexpr size_t kPasswordBytesMax = 72;  // what bcrypt looks at
constexpr size_t kSaltChars = 22;
constexpr size_t kHashChars = 31;
// libcrypt takes "$2a$" for the mark of hashes that another program once made wrongly and guards
// against those; "$2b$" is the algorithm itself.
constexpr std::string_view kAlgorithm = "$2b$";
constexpr std::string_view kEtcdAlgorithm = "$2a$";

// What `setting` (algorithm, cost, salt) makes of a password; empty when it cannot.
std::string Crypt(std::string_view password, const std::string& setting) {
  const std::string text(password.substr(0, kPasswordBytesMax));
  const auto data = std::make_unique<crypt_data>();
  const char* const hash =
      crypt_rn(text.c_str(), setting.c_str(), data.get(), static_cast<int>(sizeof(crypt_data)));
  std::string out = hash == nullptr ? "" : hash;
  OPENSSL_cleanse(data.get(), sizeof(crypt_data));
  return out;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The part of a bcrypt text behind "$2?$": cost, salt and hash. Empty for other texts.
std::string_view Tail(std::string_view hash) {
  if (!ConsumePrefix(&hash, "$2")) return {};
  if (!hash.empty() && hash.front() != '$') hash.remove_prefix(1);
  if (!ConsumePrefix(&hash, "$")) return {};
  constexpr size_t kCostChars = 3;  // "10$"
  if (hash.size() != kCostChars + kSaltChars + kHashChars) return {};
  return IsDigit(hash[0]) && IsDigit(hash[1]) && hash[2] == '$' ? hash : std::string_view();
}

}  // namespace

absl::StatusOr<std::string> HashPassword(std::string_view password, uint32_t cost) {
  if (password.size() > kPasswordBytesMax) {
    return absl::InvalidArgumentError("bcrypt: password length exceeds 72 bytes");
  }
  if (password.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError("bcrypt: password has a zero byte in it");
  }
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (crypt_gensalt_rn(kAlgorithm.data(), cost, nullptr, 0, setting, sizeof(setting)) == nullptr) {
    return absl::InternalError("the system has no randomness to give");
  }
  std::string hash = Crypt(password, setting);
  if (Tail(hash).empty()) return absl::InternalError("the system's bcrypt does not work");
  return hash.replace(0, kAlgorithm.size(), kEtcdAlgorithm);
}

bool VerifyPassword(std::string_view password, std::string_view hash) {
  const std::string_view expected = Tail(hash);
  if (expected.empty() || password.substr(0, kPasswordBytesMax).find('\0') != std::string::npos) {
    return false;
  }
  const std::string again =
      Crypt(password, StrCat(kAlgorithm, expected.substr(0, expected.size() - kHashChars)));
  const std::string_view got = Tail(again);
  return got.size() == expected.size() &&
         CRYPTO_memcmp(got.data(), expected.data(), got.size()) == 0;
}

void VerifyNobodysPassword(std::string_view password, uint32_t cost) {
  static_cast<void>(
      Crypt(password, StrCat(kAlgorithm, cost < 10 ? "0" : "", cost, "$", std::string(22, '.'))));
}

}  // namespace quorate::server
