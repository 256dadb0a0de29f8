// Tokens: what a call brings to say who asks, and what Authenticate hands out, as --auth-token has
// it: `simple`, `jwt,...` or nothing at all (wire facts, semantics §7).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"
#include "engine/auth/auth_store.h"
#include "engine/engine.h"
#include "server/auth/jwt.h"
#include "transport/rpc.h"

namespace quorate::server {

// What came with a call, judged as far as that goes without the state of the member.
struct Credentials {
  enum class Kind { kNone, kRefused, kSimple, kClaims, kCertificate };
  Kind kind = Kind::kNone;
  std::string text;  // kSimple: the token; kCertificate: the common name
  JwtClaims claims;  // kClaims: signed and valid when it was read
};

class Tokens {
 public:
  enum class Certificates { kIgnored, kName };  // kName: --client-cert-auth
  struct Options {
    std::string spec;  // --auth-token
    Certificates certificates = Certificates::kIgnored;
  };
  // kInvalidArgument with etcd's text where it has one. `clock` outlives this.
  static absl::StatusOr<std::unique_ptr<Tokens>> Create(const Options& options, const Clock* clock);

  // Any thread; checks the signature of a signed token, so not where everybody waits.
  Credentials Read(const transport::ServerCall& call) const;

  // Replica thread: who it is in the present state (nobody while auth is off), an error, or the log
  // index that has to be applied here before that is known.
  using Outcome = std::variant<engine::Identity, engine::Error, LogIndex>;
  Outcome Identify(const Credentials& credentials, engine::Engine& engine) const;

  // --- Authenticate
  // What goes into the log: the secret part of a simple token; empty for other kinds. Any thread.
  std::string NewSecret() const;
  // Whether the log's answer has the token in it already.
  bool made_by_log() const { return kind_ == Kind::kSimple; }
  // Otherwise: kAuthFailed when there are no tokens, kVerifyOnly. Not where everybody waits.
  std::variant<std::string, engine::Error> Sign(const std::string& username,
                                                uint64_t auth_revision) const;

 private:
  enum class Kind { kNone, kSimple, kJwt };
  Tokens(Kind kind, Certificates certificates, std::unique_ptr<Jwt> jwt, const Clock* clock)
      : kind_(kind), certificates_(certificates), jwt_(std::move(jwt)), clock_(clock) {}

  const Kind kind_;
  const Certificates certificates_;
  const std::unique_ptr<Jwt> jwt_;
  const Clock* const clock_;
};

}  // namespace quorate::server
