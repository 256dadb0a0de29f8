// Model: what a run knows about every key from the answers it got, and the judge of every further
// answer. The store is right when each answer fits some order of all writes that respects what was
// acknowledged; the model checks the necessary conditions that cost nanoseconds (see the members)
// and leaves whole-history ones to History and the end of a phase.
//
// Any thread. Memory: 32 bytes per key.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "workloads/check_log.h"
#include "workloads/history.h"
#include "workloads/keys.h"
#include "workloads/value.h"
#include "workloads/wire.h"
#include "workloads/workload.h"

namespace quorate::workload {

// What is known of a key: its newest change. {0, false} = nothing.
struct KeyFact {
  int64_t revision = 0;
  bool deleted = false;
  // What a guard compares with: 0 when the key is not there.
  int64_t guard() const { return deleted ? 0 : revision; }
};

// What a request needs to remember until its answer comes.
struct Floor {
  int64_t revision = 0;  // the newest one that any answer had shown
  KeyFact key;           // of the one key that a point operation concerns
};

struct KeyRef {
  size_t space = 0;
  int64_t number = 0;
};

class Model {
 public:
  // `run` marks the values of this run. Whether a space's keys can vanish comes from `workload`.
  Model(const Workload& workload, uint32_t run, CheckLog* checks);

  size_t spaces() const { return spaces_.size(); }
  const KeySpace& space(size_t i) const { return spaces_[i]->keys; }
  KeyId IdOf(KeyRef key) const {
    return spaces_[key.space]->first_id + static_cast<KeyId>(key.number);
  }
  KeyRef RefOf(KeyId id) const;
  std::string KeyText(KeyRef key) const { return space(key.space).Key(key.number); }
  History& history() { return history_; }
  const History& history() const { return history_; }
  CheckLog& checks() { return *checks_; }
  uint32_t run() const { return run_; }

  // Before the first request: the server's revision, and whether a space holds older keys.
  void Begin(int64_t revision);
  void SetOlderKeys(size_t space) { spaces_[space]->older_keys = true; }
  bool OlderKeys(size_t space) const { return spaces_[space]->older_keys; }

  // Whether any operation of the workload deletes keys of this space.
  bool MayVanish(size_t space) const { return spaces_[space]->has_deletes; }
  // Keys of a space whose put was acknowledged; meaningful where they cannot vanish.
  int64_t PresentKeys(size_t space) const { return spaces_[space]->present.load(); }

  int64_t newest_revision() const { return newest_.load(std::memory_order_acquire); }
  // The highest revision at which this run asked for a compaction; 0 = none.
  int64_t compacted_revision() const { return compacted_.load(std::memory_order_acquire); }
  void NoteCompaction(int64_t revision);  // before its request is sent
  uint64_t unknown_writes() const { return unknown_writes_.load(std::memory_order_relaxed); }
  bool AnyUnknown(KeyRef key) const { return StateOf(key).unknown_writes.load() > 0; }
  KeyFact Acknowledged(KeyRef key) const;
  KeyFact Known(KeyRef key) const;  // also from reads; may be newer
  Floor FloorFor(KeyRef key) const { return {newest_revision(), Acknowledged(key)}; }
  Floor FloorNow() const { return {newest_revision(), {}}; }

  // --- writes. Begin before the request leaves; then exactly one of the three ends.
  void BeginDelete(KeyRef key);
  void WriteAcknowledged(KeyRef key, const Change& change, const Floor& floor);
  void WriteRefused(KeyRef key, bool was_delete);  // certainly not done
  void WriteUnknown(KeyRef key);  // done or not, now or later; also ends a BeginDelete

  // --- reads
  // The header of any answer to a linearizable request: not below what was known.
  void CheckHeader(int64_t revision, const Floor& floor);
  // A pair of an answer whose header has `revision`. `has_value` is false for keys_only.
  void CheckPair(KeyRef key, const KeyValueView& kv, int64_t revision, bool has_value);
  // The same for one that a point read returned (nullptr: it returned none).
  void CheckPointRead(KeyRef key, const KeyValueView* kv, int64_t revision, const Floor& floor,
                      Consistency consistency);
  // A key that a complete range with header `revision` did not contain.
  void CheckAbsent(KeyRef key, int64_t revision);
  // A previous pair that came with the change at `revision`.
  void CheckPrevious(KeyRef key, const KeyValueView& kv, int64_t revision);

  // --- the end: nothing outstanding; `kv` nullptr = the key is not there.
  void CheckFinal(KeyRef key, const KeyValueView* kv);

 private:
  struct KeyState {
    std::atomic<int64_t> acknowledged{0};  // revision << 1 | deleted
    std::atomic<int64_t> known{0};
    std::atomic<int64_t> first{0};         // revision of its first acknowledged put
    std::atomic<int32_t> open_deletes{0};  // sent and not surely over
    std::atomic<int32_t> unknown_writes{0};
  };
  struct Space {
    explicit Space(const KeySpaceSpec& spec) : keys(spec), states(new KeyState[spec.count]) {}
    KeySpace keys;
    std::unique_ptr<KeyState[]> states;
    KeyId first_id = 0;
    std::atomic<int64_t> present{0};
    bool has_deletes = false;
    bool older_keys = false;
  };

  KeyState& StateOf(KeyRef key) const {
    return spaces_[key.space]->states[static_cast<size_t>(key.number)];
  }
  void RaiseNewest(int64_t revision);
  bool CheckValueOf(KeyRef key, const KeyValueView& kv, ValueHeader* header);

  CheckLog* const checks_;
  const uint32_t run_;
  std::vector<std::unique_ptr<Space>> spaces_;
  History history_;
  int64_t begin_revision_ = 0;
  std::atomic<int64_t> newest_{0};
  std::atomic<int64_t> compacted_{0};
  std::atomic<uint64_t> unknown_writes_{0};
};

}  // namespace quorate::workload
