// What a replicated log holds: the plain values that consensus decides on, the log store keeps and
// the replica applies. Presence and meaning follow raft's own vocabulary (Ongaro's thesis, §3).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"

namespace quorate {

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  Term term;
  LogIndex index;
  EntryType type = EntryType::kNormal;
  Bytes data;  // one etcdserverpb.InternalRaftRequest, untouched; empty = a leader's no-op
};

// What must survive a crash besides entries. `commit` may lag behind.
struct HardState {
  Term term;
  MemberId vote;
  LogIndex commit;
  bool operator==(const HardState&) const = default;
};

}  // namespace quorate
