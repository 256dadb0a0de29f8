#include "server/auth/jwt.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/clock.h"
#include "base/file_env.h"
#include "base/json_text.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/auth/jwt_signature.h"
#include "server/auth/verified_tokens.h"

namespace quorate::server {
namespace {

using nlohmann::json;

constexpr size_t kTokenBytesMax = 16 << 10;
constexpr size_t kVerifiedMax = 1024;
// Beyond it a double does not tell whole numbers apart.
constexpr double kRevisionMax = 9007199254740992.0;

double SecondsOf(int64_t ns) { return static_cast<double>(ns) / kNanosPerSecond; }

std::optional<json> DecodePart(std::string_view part) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(ToAbsl(part), &text)) return std::nullopt;
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return std::nullopt;
  return value;
}

// False: it is there and not a number.
bool ReadTime(const json& claims, const char* name, double* out) {
  const auto found = claims.find(name);
  if (found == claims.end()) return true;
  if (!found->is_number()) return false;
  *out = found->get<double>();
  return true;
}

bool ValidAt(const JwtClaims& claims, double now_s) {
  return now_s < claims.expires_s && now_s >= claims.not_before_s;
}

std::optional<JwtClaims> ClaimsOf(const json& claims) {
  JwtClaims out;
  out.expires_s = std::numeric_limits<double>::infinity();
  out.not_before_s = -std::numeric_limits<double>::infinity();
  if (!ReadTime(claims, "exp", &out.expires_s) || !ReadTime(claims, "nbf", &out.not_before_s)) {
    return std::nullopt;
  }
  const auto name = claims.find("username");
  const auto revision = claims.find("revision");
  if (name == claims.end() || !name->is_string() || revision == claims.end() ||
      !revision->is_number()) {
    return std::nullopt;
  }
  const auto number = revision->get<double>();
  if (!(number >= 0 && number <= kRevisionMax)) return std::nullopt;
  out.username = name->get<std::string>();
  out.revision = static_cast<uint64_t>(number);
  return out;
}

class SignedJwt final : public Jwt {
 public:
  SignedJwt(std::unique_ptr<JwtSigner> signer, int64_t ttl_ns)
      : signer_(std::move(signer)), ttl_ns_(ttl_ns) {}

  bool can_sign() const override { return signer_->can_sign(); }

  absl::StatusOr<std::string> Sign(const std::string& username, uint64_t revision,
                                   int64_t now_ns) const override {
    const std::string header = StrCat(R"({"alg":")", signer_->method(), R"(","typ":"JWT"})");
    const std::string claims =
        StrCat(R"({"exp":)", (now_ns + ttl_ns_) / kNanosPerSecond, R"(,"revision":)", revision,
               R"(,"username":)", JsonString(username), "}");
    std::string text =
        StrCat(absl::WebSafeBase64Escape(header), ".", absl::WebSafeBase64Escape(claims));
    QR_ASSIGN_OR_RETURN(const std::string signature, signer_->Sign(text));
    StrAppend(&text, ".", absl::WebSafeBase64Escape(signature));
    return text;
  }

  std::optional<JwtClaims> Verify(std::string_view token, int64_t now_ns) const override {
    std::optional<JwtClaims> claims = verified_.Find(token);
    if (!claims) {
      claims = VerifySignature(token);
      if (claims) verified_.Add(token, *claims);
    }
    return claims && ValidAt(*claims, SecondsOf(now_ns)) ? claims : std::nullopt;
  }

 private:
  std::optional<JwtClaims> VerifySignature(std::string_view token) const {
    if (token.size() > kTokenBytesMax) return std::nullopt;
    const std::vector<std::string_view> parts = StrSplit(token, '.');
    if (parts.size() != 3) return std::nullopt;
    std::string signature;
    if (!absl::WebSafeBase64Unescape(ToAbsl(parts[2]), &signature)) return std::nullopt;
    // The method is ours to say, not the token's: it only may not say another.
    const std::optional<json> header = DecodePart(parts[0]);
    if (!header) return std::nullopt;
    const auto method = header->find("alg");
    if (method == header->end() || !method->is_string() ||
        method->get<std::string>() != signer_->method()) {
      return std::nullopt;
    }
    const std::string_view signed_text = token.substr(0, parts[0].size() + 1 + parts[1].size());
    if (!signer_->Verify(signed_text, signature)) return std::nullopt;
    const std::optional<json> claims = DecodePart(parts[1]);
    return claims ? ClaimsOf(*claims) : std::nullopt;
  }

  const std::unique_ptr<JwtSigner> signer_;
  const int64_t ttl_ns_;
  mutable VerifiedTokens verified_{kVerifiedMax};
};

absl::StatusOr<std::string> ReadKey(const std::string& path) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> text = ReadFileToString(PosixFileEnv(), path);
  if (!text.ok()) return absl::InvalidArgumentError(text.status().message());
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Jwt>> Jwt::Load(const JwtOptions& options) {
  QR_ASSIGN_OR_RETURN(const std::string public_key, ReadKey(options.public_key_file));
  QR_ASSIGN_OR_RETURN(const std::string private_key, ReadKey(options.private_key_file));
  QR_ASSIGN_OR_RETURN(std::unique_ptr<JwtSigner> signer,
                      JwtSigner::Create(options.method, public_key, private_key));
  return std::make_unique<SignedJwt>(std::move(signer), options.ttl_ns);
}

}  // namespace quorate::server
