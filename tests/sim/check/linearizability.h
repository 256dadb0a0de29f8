// Linearizability of a key-value history by search, believing nothing but what clients saw: no
// revision decides. The search tries the operations that may come next, one after the other, over a
// register per key, and remembers which sets of operations led to which states (Wing and Gong,
// "Testing and Verifying Concurrent Objects", 1993; Lowe, "Testing for Linearizability", 2017).
//
// Operations on different groups of keys do not meet, so each group is judged on its own. The
// revisions in answers only choose which operation is tried first: a right history is then found at
// once, and only a wrong one is searched through.
#pragma once

#include <cstdint>

#include "tests/sim/check/history.h"

namespace quorate::sim {

struct SearchResult {
  Violations violations;
  uint64_t groups = 0;
  uint64_t operations = 0;
  uint64_t states = 0;     // looked at
  uint64_t undecided = 0;  // groups given up at the limit
};

struct SearchLimits {
  uint64_t states_per_group = 200'000;
};

// Looks at single-key and small-range reads, puts, deletes, and transactions of them that compare
// values, versions with zero, or creation revisions with zero. What else there is (other
// comparisons) is taken as a guess that came true. Serializable and past reads are left out.
SearchResult SearchLinearization(const std::vector<Operation>& operations,
                                 const SearchLimits& limits);

}  // namespace quorate::sim
