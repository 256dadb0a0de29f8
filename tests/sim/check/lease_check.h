// Judges leases against true time: none that a client was promised ends before its time, and all
// end after it.
#pragma once

#include <cstdint>
#include <set>

#include "tests/sim/check/history.h"
#include "tests/sim/check/truth.h"

namespace quorate::sim {

struct LeaseRules {
  // The fastest clock of a member gains so many parts in a million on true time.
  int64_t clock_gain_ppm = 0;
  // No lease may be left of those granted or renewed before this true time; INT64_MIN = not asked.
  int64_t gone_if_before_ns = INT64_MIN;
};

Violations CheckLeases(const Truth& truth, const History& history, const LeaseRules& rules);

}  // namespace quorate::sim
