// Jwt: signed tokens (RFC 7519, RFC 7518) with the claims `username`, `revision` (of the auth
// store) and `exp`, as etcd's `--auth-token jwt` makes and reads them.
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quorate::server {

struct JwtOptions {
  std::string method;            // RS256 ... HS512, EdDSA
  std::string public_key_file;   // PEM; alone: tokens of others are read, none are made
  std::string private_key_file;  // PEM; for HS* the secret itself
  int64_t ttl_ns = int64_t{300} * 1'000'000'000;
};

struct JwtClaims {
  std::string username;
  uint64_t revision = 0;
  double expires_s = 0;     // wall clock, Unix time; infinity = never
  double not_before_s = 0;  // the same; - infinity = always
};

class Jwt {
 public:
  // kInvalidArgument with etcd's text where it has one.
  static absl::StatusOr<std::unique_ptr<Jwt>> Load(const JwtOptions& options);
  virtual ~Jwt() = default;

  virtual bool can_sign() const = 0;
  // `now_ns`, here and below: wall clock. CHECKs that it can. kInternal: the key does not do it.
  virtual absl::StatusOr<std::string> Sign(const std::string& username, uint64_t revision,
                                           int64_t now_ns) const = 0;
  // What a token says that was signed by the key, is valid already and not over; nullopt for all
  // others. Of a token that comes again the signature is not checked again.
  virtual std::optional<JwtClaims> Verify(std::string_view token, int64_t now_ns) const = 0;
};

}  // namespace quorate::server
