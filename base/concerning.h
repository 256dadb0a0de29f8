// Concerning: an error with what it is about before it, as it goes up to somebody who can change
// that: "--data-dir /x: create folder /x/member: Permission denied".
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "base/text.h"

namespace quorate {

// The same code; OK stays OK.
inline absl::Status Concerning(std::string_view what, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), ToAbsl(StrCat(what, ": ", ToStd(status.message()))));
}

}  // namespace quorate
