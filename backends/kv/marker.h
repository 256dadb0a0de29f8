// The file BACKEND in a backend's folder: which backend made the folder, in which format version.
//   "<name> <version>\n"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_env.h"

namespace quorate::kv {

inline constexpr uint32_t kBackendFormat = 1;

// The name in the marker; kNotFound when there is none, kDataLoss when it cannot be read.
absl::StatusOr<std::string> BackendOf(FileEnv* env, const std::string& dir);

// Creates the folder and its marker if the folder is missing or empty. kFailedPrecondition when it
// belongs to another backend, a newer format, or holds files but no marker.
absl::Status ClaimFolder(FileEnv* env, const std::string& dir, std::string_view backend);

}  // namespace quorate::kv
