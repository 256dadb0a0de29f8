// Judges operations against the committed log, which is the witness of their order:
//  - every acknowledged write is in the log, once, and was answered as the model answers;
//  - a write without an answer is in it at most once, a refused one changed nothing;
//  - every read answers the state of the revision that it names;
//  - revisions respect real time: what returned before another began has not the greater revision,
//    and a write's revision is above all of before. With the points above that is linearizability.
#pragma once

#include "tests/sim/check/history.h"
#include "tests/sim/check/truth.h"

namespace quorate::sim {

Violations CheckOperations(const Truth& truth, const std::vector<Operation>& operations);

}  // namespace quorate::sim
