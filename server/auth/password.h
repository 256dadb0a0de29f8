// Passwords as etcd stores them: bcrypt, in the text form that begins with "$2a$". One computation
// takes some 50 ms at the usual cost: on a worker, never where requests are served.
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quorate::server {

inline constexpr uint32_t kBcryptCostMin = 4;
inline constexpr uint32_t kBcryptCostMax = 31;
inline constexpr uint32_t kBcryptCostDefault = 10;

// kInvalidArgument for a password that cannot be told from others: longer than 72 bytes (etcd's
// text), or with a zero byte in it.
absl::StatusOr<std::string> HashPassword(std::string_view password, uint32_t cost);
// Of a password longer than 72 bytes the first 72 count. False also when `hash` is no such hash.
bool VerifyPassword(std::string_view password, std::string_view hash);
// Takes the time of a VerifyPassword and answers nothing: for users that do not exist.
void VerifyNobodysPassword(std::string_view password, uint32_t cost);

}  // namespace quorate::server
