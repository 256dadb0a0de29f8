// The request id inside a proposal's bytes, by which the member that took a request finds the
// answer when another member ordered it.
#pragma once

#include <string_view>

#include "base/ids.h"
#include "base/log_entry.h"

namespace quorate::server {

// InternalRaftRequest.header.ID, or ConfChange.ID for a configuration entry; 0 when there is none
// or the bytes cannot be read. Looks only at the outermost fields.
RequestId RequestIdOf(EntryType type, std::string_view payload);

}  // namespace quorate::server
