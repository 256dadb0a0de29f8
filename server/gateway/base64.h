// Bytes as JSON text, the way protobuf's mapping has them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quorate::server {

// The standard or the URL-safe alphabet, padded or not; line ends are skipped, as Go does.
// nullopt = no such text.
std::optional<std::string> DecodeJsonBytes(std::string_view text);

}  // namespace quorate::server
