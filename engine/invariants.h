// EngineInvariants: what holds of an engine at every moment between two calls, and what may change
// from one look to the next. Tests and the simulator look after every step.
//
// Holds now: the index's sums are those of its entries; the window is in order and its sums are
// right; every record that the index names is in window or backend, with the key, revision and
// fields that the index has; the history above the compaction has no gap; below it, once it is
// done, there is nothing but live records and tombstones of the compacted revision; leases and
// their keys name each other both ways; while permissions are asked for there is a root, and users
// have no roles that are not there; what the backend says of itself is not ahead of the engine.
// From look to look: indexes, revisions, marks and counters never go back; an entry moves the
// revision by one at most; what is not applied changes nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "base/ids.h"
#include "engine/engine.h"

namespace quorate::engine {

class EngineInvariants {
 public:
  enum class Depth {
    kCheap,  // O(1): for every step of a long run
    kFull,   // reads every record: for small states, or now and then
  };
  // Ok, or kInternal with the first thing that does not hold. Structure that nothing could be told
  // of any more (order of the tree, links) ends the process instead. Replica thread.
  absl::Status Look(const Engine& engine, Depth depth);
  // The engine was opened anew: it may stand further back than before.
  void Restarted() { last_.reset(); }

 private:
  struct Seen {
    LogIndex applied;
    Term term;
    int64_t revision = 0, compacted = 0, physically_compacted = 0;
    uint64_t live_keys = 0, leases = 0, auth_revision = 0;
    Engine::Counters counters;
  };
  static Seen See(const Engine& engine);
  static absl::Status Change(const Seen& before, const Seen& now);

  std::optional<Seen> last_;
};

}  // namespace quorate::engine
