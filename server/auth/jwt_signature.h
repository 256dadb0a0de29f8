// JwtSigner: the signature of a JSON web token (RFC 7518 §3, RFC 8037) over OpenSSL's keys.
// Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quorate::server {

class JwtSigner {
 public:
  enum class Kind { kRsa, kRsaPss, kEcdsa, kEd25519, kHmac };
  // PEM texts, empty where there is none; for kHmac `private_key` is the secret. kInvalidArgument:
  // unknown method, no key, a key of another kind, or two keys that do not belong together.
  static absl::StatusOr<std::unique_ptr<JwtSigner>> Create(std::string_view method,
                                                           const std::string& public_key,
                                                           const std::string& private_key);
  virtual ~JwtSigner() = default;

  virtual std::string_view method() const = 0;
  virtual bool can_sign() const = 0;
  virtual absl::StatusOr<std::string> Sign(std::string_view text) const = 0;
  virtual bool Verify(std::string_view text, std::string_view signature) const = 0;
};

}  // namespace quorate::server
