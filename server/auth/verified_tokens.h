// VerifiedTokens: what signed tokens said whose signature was found right, so that it is checked
// once and not with every call. Holds those that came last, a bounded number. Any thread.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "server/auth/jwt.h"

namespace quorate::server {

class VerifiedTokens {
 public:
  // At most twice as many are held.
  explicit VerifiedTokens(size_t generation_max) : generation_max_(generation_max) {}

  std::optional<JwtClaims> Find(std::string_view token);
  void Add(std::string_view token, const JwtClaims& claims);
  size_t size() const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Generation = std::unordered_map<std::string, JwtClaims, Hash, std::equal_to<>>;

  const size_t generation_max_;
  mutable std::mutex mutex_;
  // Who is asked for moves to the newer one; when that is full, the older one is forgotten.
  Generation newer_;
  Generation older_;
};

}  // namespace quorate::server
