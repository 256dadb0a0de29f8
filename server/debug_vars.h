// /debug/vars: one JSON object with etcd's keys: cmdline, file_descriptor_limit, memstats (of what
// the allocator knows, under the names that Go has for it) and raft.status.
#pragma once

#include <string>

#include "base/allocator.h"
#include "consensus/raft.h"

namespace quorate::server {

// Any thread. Ends with a line feed.
std::string FormatDebugVars(const consensus::Status& raft, const AllocatorStats& memory);

}  // namespace quorate::server
