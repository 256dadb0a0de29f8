// Judges watches against the revisions of the committed log: every event once, in revision order,
// whole transactions (unless a fragment says that more follow), nothing left out and nothing added,
// no header ahead of what was delivered on a promise of progress, no end as compacted without a
// compaction.
#pragma once

#include <cstdint>

#include "tests/sim/check/history.h"
#include "tests/sim/check/truth.h"

namespace quorate::sim {

// `complete_revision`: watches that are still open must have delivered everything up to it; 0 when
// nothing can be asked of them.
Violations CheckWatches(const Truth& truth, const std::vector<WatchRecord>& watches,
                        int64_t complete_revision);

}  // namespace quorate::sim
