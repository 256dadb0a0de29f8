#include "server/auth/verified_tokens.h"

#include <utility>

namespace quorate::server {

std::optional<JwtClaims> VerifiedTokens::Find(std::string_view token) {
  const std::lock_guard lock(mutex_);
  const auto found = newer_.find(token);
  if (found != newer_.end()) return found->second;
  const auto old = older_.find(token);
  if (old == older_.end()) return std::nullopt;
  Generation::node_type moved = older_.extract(old);
  if (newer_.size() >= generation_max_) older_ = std::exchange(newer_, {});
  return newer_.insert(std::move(moved)).position->second;
}

void VerifiedTokens::Add(std::string_view token, const JwtClaims& claims) {
  const std::lock_guard lock(mutex_);
  if (newer_.size() >= generation_max_) older_ = std::exchange(newer_, {});
  newer_.insert_or_assign(std::string(token), claims);
}

size_t VerifiedTokens::size() const {
  const std::lock_guard lock(mutex_);
  return newer_.size() + older_.size();
}

}  // namespace quorate::server
