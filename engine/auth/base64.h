// Base64 as Go's encoding/base64 reads it by default: hashed passwords travel in it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quorate::engine {

// Padding is required, line ends are ignored, unused bits may be anything. nullopt: not that.
std::optional<std::string> DecodeStdBase64(std::string_view text);

}  // namespace quorate::engine
