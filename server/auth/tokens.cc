#include "server/auth/tokens.h"

#include <openssl/rand.h>

#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/json_text.h"
#include "base/options.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/auth/simple_tokens.h"

namespace quorate::server {
namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr size_t kSecretLetters = 16;

absl::Status InvalidOptions(std::string_view why) {
  return absl::InvalidArgumentError(StrCat("--auth-token: auth: invalid auth options (", why, ")"));
}

using Parameters = std::map<std::string, std::string, std::less<>>;

// "jwt,pub-key=F,...": the words behind the first.
absl::StatusOr<Parameters> ParseParameters(const std::vector<std::string_view>& words) {
  Parameters parameters;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::vector<std::string_view> pair = StrSplit(words[i], '=');
    if (pair.size() != 2) return InvalidOptions(StrCat("\"", words[i], "\" is not NAME=VALUE"));
    if (!parameters.emplace(pair[0], pair[1]).second) {
      return InvalidOptions(StrCat(pair[0], " is given twice"));
    }
  }
  return parameters;
}

absl::StatusOr<std::unique_ptr<Jwt>> LoadJwt(const Parameters& parameters) {
  const auto get = [&](std::string_view name) {
    const auto found = parameters.find(name);
    return found == parameters.end() ? std::string() : found->second;
  };
  JwtOptions options;
  options.method = get("sign-method");
  options.public_key_file = get("pub-key");
  options.private_key_file = get("priv-key");
  if (const std::string ttl = get("ttl"); !ttl.empty()) {
    const absl::StatusOr<int64_t> parsed = ParseGoDuration(ttl);
    if (!parsed.ok()) return InvalidOptions(ToStd(parsed.status().message()));
    options.ttl_ns = *parsed;
  }
  absl::StatusOr<std::unique_ptr<Jwt>> jwt = Jwt::Load(options);
  if (jwt.ok()) return jwt;
  return absl::InvalidArgumentError(StrCat("--auth-token: ", jwt.status().message()));
}

// The first of the two places where a token may stand.
std::optional<std::string> TokenOf(const transport::ServerCall& call) {
  std::optional<std::string> token = call.Metadata("token");
  if (!token) token = call.Metadata("authorization");
  if (token && token->starts_with("Bearer ")) token->erase(0, 7);
  return token;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokens>> Tokens::Create(const Options& options, const Clock* clock) {
  const std::vector<std::string_view> words = StrSplit(options.spec, ',');
  QR_ASSIGN_OR_RETURN(const Parameters parameters, ParseParameters(words));
  Kind kind = Kind::kNone;
  std::unique_ptr<Jwt> jwt;
  if (words[0] == "simple") {
    kind = Kind::kSimple;
  } else if (words[0] == "jwt") {
    kind = Kind::kJwt;
    QR_ASSIGN_OR_RETURN(jwt, LoadJwt(parameters));
  } else if (!words[0].empty()) {
    return InvalidOptions(StrCat("unknown kind \"", words[0], "\"; known: simple, jwt"));
  }
  return std::unique_ptr<Tokens>(new Tokens(kind, options.certificates, std::move(jwt), clock));
}

Credentials Tokens::Read(const transport::ServerCall& call) const {
  Credentials out;
  if (std::optional<std::string> token = TokenOf(call)) {
    out.kind = Credentials::Kind::kRefused;
    if (kind_ == Kind::kSimple) {
      out.kind = Credentials::Kind::kSimple;
      out.text = *std::move(token);
    } else if (kind_ == Kind::kJwt) {
      if (std::optional<JwtClaims> claims = jwt_->Verify(*token, clock_->WallNs())) {
        out.kind = Credentials::Kind::kClaims;
        out.claims = *std::move(claims);
      }
    }
    return out;
  }
  if (certificates_ == Certificates::kIgnored) return out;
  // A gateway's own certificate says nothing of who asks through it.
  if (!call.Metadata("grpcgateway-accept").value_or("").empty()) return out;
  if (std::optional<std::string> name = call.PeerCommonName()) {
    // A name that cannot stand in a log entry is nobody's.
    out.kind = IsUtf8(*name) ? Credentials::Kind::kCertificate : Credentials::Kind::kRefused;
    out.text = *std::move(name);
  }
  return out;
}

Tokens::Outcome Tokens::Identify(const Credentials& credentials, engine::Engine& engine) const {
  if (!engine.auth().enabled()) return engine::Identity();
  switch (credentials.kind) {
    case Credentials::Kind::kNone:
      return engine::Identity();
    case Credentials::Kind::kRefused:
      break;
    case Credentials::Kind::kCertificate:
      return engine::Identity{credentials.text, engine.auth().revision()};
    case Credentials::Kind::kClaims: {
      const double now_s = static_cast<double>(clock_->WallNs()) / kNanosPerSecond;
      if (now_s >= credentials.claims.expires_s) break;
      return engine::Identity{credentials.claims.username, credentials.claims.revision};
    }
    case Credentials::Kind::kSimple: {
      const std::optional<LogIndex> index = engine::SimpleTokens::IndexOf(credentials.text);
      if (!index) break;
      if (*index > engine.applied_index()) return *index;
      std::optional<std::string> user = engine.simple_tokens().Find(credentials.text);
      if (!user) break;
      return engine::Identity{*std::move(user), engine.auth().revision()};
    }
  }
  return engine::Error(engine::errors::kInvalidAuthToken);
}

std::string Tokens::NewSecret() const {
  std::string secret;
  if (kind_ != Kind::kSimple) return secret;
  // Bytes beyond a multiple of the alphabet would make some letters likelier.
  constexpr int kBound =
      256 / static_cast<int>(kLetters.size()) * static_cast<int>(kLetters.size());
  while (secret.size() < kSecretLetters) {
    unsigned char bytes[2 * kSecretLetters];
    QR_CHECK(RAND_bytes(bytes, sizeof(bytes)) == 1);
    for (const unsigned char byte : bytes) {
      if (byte < kBound && secret.size() < kSecretLetters) {
        secret.push_back(kLetters[byte % kLetters.size()]);
      }
    }
  }
  return secret;
}

std::variant<std::string, engine::Error> Tokens::Sign(const std::string& username,
                                                      uint64_t auth_revision) const {
  if (kind_ != Kind::kJwt) return engine::Error(engine::errors::kAuthFailed);
  if (!jwt_->can_sign()) return engine::Error(engine::errors::kVerifyOnly);
  absl::StatusOr<std::string> token = jwt_->Sign(username, auth_revision, clock_->WallNs());
  if (!token.ok()) return engine::Error{2, std::string(token.status().message())};
  return *std::move(token);
}

}  // namespace quorate::server
