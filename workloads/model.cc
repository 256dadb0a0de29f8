#include "workloads/model.h"

#include "base/check.h"
#include "base/text.h"

namespace quorate::workload {
namespace {

int64_t Pack(KeyFact fact) { return fact.revision << 1 | (fact.deleted ? 1 : 0); }
KeyFact Unpack(int64_t packed) { return {packed >> 1, (packed & 1) != 0}; }

// Answers what was there before.
int64_t RaiseTo(std::atomic<int64_t>* place, int64_t value) {
  int64_t known = place->load(std::memory_order_relaxed);
  while (known < value && !place->compare_exchange_weak(known, value, std::memory_order_release)) {
  }
  return known;
}

}  // namespace

Model::Model(const Workload& workload, uint32_t run, CheckLog* checks)
    : checks_(checks), run_(run), history_(checks) {
  KeyId next_id = 0;
  for (const KeySpaceSpec& spec : workload.key_spaces) {
    spaces_.push_back(std::make_unique<Space>(spec));
    spaces_.back()->first_id = next_id;
    next_id += static_cast<KeyId>(spec.count);
  }
  for (const PhaseSpec& phase : workload.phases) {
    for (const LoadSpec& load : phase.loads) {
      for (const OperationSpec& op : load.operations) {
        if (op.type == OpType::kDelete || op.remove) spaces_[op.key_space]->has_deletes = true;
      }
    }
  }
}

KeyRef Model::RefOf(KeyId id) const {
  size_t i = spaces_.size();
  while (i-- > 0) {
    if (id >= spaces_[i]->first_id) break;
  }
  return {i, static_cast<int64_t>(id - spaces_[i]->first_id)};
}

void Model::Begin(int64_t revision) {
  begin_revision_ = revision;
  newest_ = revision;
  history_.Reset(revision);
}

void Model::NoteCompaction(int64_t revision) { RaiseTo(&compacted_, revision); }

void Model::RaiseNewest(int64_t revision) { RaiseTo(&newest_, revision); }

KeyFact Model::Acknowledged(KeyRef key) const {
  return Unpack(StateOf(key).acknowledged.load(std::memory_order_acquire));
}

KeyFact Model::Known(KeyRef key) const {
  return Unpack(StateOf(key).known.load(std::memory_order_relaxed));
}

void Model::BeginDelete(KeyRef key) { StateOf(key).open_deletes.fetch_add(1); }

void Model::WriteAcknowledged(KeyRef key, const Change& change, const Floor& floor) {
  KeyState& state = StateOf(key);
  const bool above = checks_->Expect(Check::kRevision, change.revision > floor.revision, [&] {
    return StrCat(change.deleted ? "delete of " : "put of ", KeyText(key),
                  " was answered with revision ", change.revision, ", but revision ",
                  floor.revision, " was known before it was sent");
  });
  if (above) history_.Acknowledged(change);
  const int64_t packed = Pack({change.revision, change.deleted});
  int64_t none = 0;
  state.first.compare_exchange_strong(none, change.revision);
  if (RaiseTo(&state.acknowledged, packed) == 0) spaces_[key.space]->present.fetch_add(1);
  RaiseTo(&state.known, packed);
  // After the fact is in place: who sees no open delete sees all that deletes did.
  if (change.deleted) state.open_deletes.fetch_sub(1);
  RaiseNewest(change.revision);
}

void Model::WriteRefused(KeyRef key, bool was_delete) {
  if (was_delete) StateOf(key).open_deletes.fetch_sub(1);
}

void Model::WriteUnknown(KeyRef key) {
  // A delete of unknown outcome stays open: it may happen at any later time.
  StateOf(key).unknown_writes.fetch_add(1);
  unknown_writes_.fetch_add(1, std::memory_order_relaxed);
}

void Model::CheckHeader(int64_t revision, const Floor& floor) {
  checks_->Expect(Check::kFreshness, revision >= floor.revision, [&] {
    return StrCat("an answer's header has revision ", revision, ", but revision ", floor.revision,
                  " was known before its request was sent");
  });
  RaiseNewest(revision);
}

bool Model::CheckValueOf(KeyRef key, const KeyValueView& kv, ValueHeader* header) {
  const ValueFault fault = ReadValue(kv.value, KeyHash(kv.key), header);
  const bool of_this_run = header->run == run_ || kv.mod_revision <= begin_revision_;
  return checks_->Expect(Check::kValue, fault == ValueFault::kNone && of_this_run, [&] {
    return StrCat("the value of ", KeyText(key), " at revision ", kv.mod_revision, " (",
                  kv.value.size(), " bytes) is ",
                  fault != ValueFault::kNone ? ValueFaultText(fault) : "not of this run");
  });
}

void Model::CheckPair(KeyRef key, const KeyValueView& kv, int64_t revision, bool has_value) {
  ValueHeader header;
  if (has_value) {
    if (!CheckValueOf(key, kv, &header)) return;
    if (kv.mod_revision > history_.base() &&
        !history_.Seen({kv.mod_revision, IdOf(key), false, header.tag(), -1})) {
      return;
    }
  }
  KeyState& state = StateOf(key);
  const KeyFact fact = Unpack(state.acknowledged.load(std::memory_order_acquire));
  const bool fresh = fact.revision > revision || kv.mod_revision > fact.revision ||
                     (kv.mod_revision == fact.revision && !fact.deleted);
  const bool sane = kv.mod_revision <= revision && kv.create_revision <= kv.mod_revision &&
                    kv.create_revision > 0 && kv.version >= 1 &&
                    (kv.version == 1) == (kv.create_revision == kv.mod_revision);
  checks_->Expect(Check::kFreshness, fresh && sane, [&] {
    return StrCat("an answer at revision ", revision, " shows ", KeyText(key), " version ",
                  kv.version, ", created at ", kv.create_revision, ", changed at ", kv.mod_revision,
                  "; acknowledged is its ", fact.deleted ? "delete" : "put", " at ", fact.revision);
  });
  RaiseTo(&state.known, Pack({kv.mod_revision, false}));
}

void Model::CheckPointRead(KeyRef key, const KeyValueView* kv, int64_t revision, const Floor& floor,
                           Consistency consistency) {
  if (consistency == Consistency::kLinearizable) CheckHeader(revision, floor);
  if (kv == nullptr) {
    CheckAbsent(key, revision);
    RaiseTo(&StateOf(key).known, Pack({revision, true}));
    return;
  }
  CheckPair(key, *kv, revision, true);
  if (consistency == Consistency::kSerializable) return;
  checks_->Expect(Check::kFreshness,
                  kv->mod_revision > floor.key.revision ||
                      (kv->mod_revision == floor.key.revision && !floor.key.deleted),
                  [&] {
                    return StrCat("a read shows ", KeyText(key), " of revision ", kv->mod_revision,
                                  ", but its ", floor.key.deleted ? "delete" : "put", " at ",
                                  floor.key.revision, " was acknowledged before it was sent");
                  });
}

void Model::CheckAbsent(KeyRef key, int64_t revision) {
  const KeyState& state = StateOf(key);
  // In this order: see WriteAcknowledged.
  const bool delete_open = state.open_deletes.load() > 0;
  const KeyFact fact = Unpack(state.acknowledged.load());
  // A key that cannot vanish is there from its first put on, also when a newer one is known by now.
  const int64_t since = MayVanish(key.space) ? fact.revision : state.first.load();
  const bool there = since != 0 && !fact.deleted && since <= revision;
  checks_->Expect(Check::kFreshness, !there || delete_open, [&] {
    return StrCat("an answer at revision ", revision, " has no ", KeyText(key),
                  ", whose put at revision ", since, " was acknowledged");
  });
}

void Model::CheckPrevious(KeyRef key, const KeyValueView& kv, int64_t revision) {
  ValueHeader header;
  if (!CheckValueOf(key, kv, &header)) return;
  if (kv.mod_revision > history_.base()) {
    history_.Seen({kv.mod_revision, IdOf(key), false, header.tag(), -1});
  }
  checks_->Expect(Check::kValue,
                  kv.mod_revision < revision && space(key.space).NumberOf(kv.key) == key.number,
                  [&] {
                    return StrCat("the previous pair of ", KeyText(key), " at revision ", revision,
                                  " is of key ", kv.key, " at revision ", kv.mod_revision);
                  });
}

void Model::CheckFinal(KeyRef key, const KeyValueView* kv) {
  const KeyState& state = StateOf(key);
  const KeyFact fact = Acknowledged(key);
  ValueHeader header;
  if (kv != nullptr && !CheckValueOf(key, *kv, &header)) return;
  bool good;
  if (state.unknown_writes.load() > 0) {
    good = kv == nullptr ? fact.revision == 0 || fact.deleted || state.open_deletes.load() > 0
                         : kv->mod_revision > fact.revision ||
                               (kv->mod_revision == fact.revision && !fact.deleted);
  } else if (kv == nullptr) {
    good = fact.revision == 0 || fact.deleted;
  } else {
    good = fact.revision == 0 ? kv->mod_revision <= begin_revision_
                              : !fact.deleted && kv->mod_revision == fact.revision;
  }
  checks_->Expect(Check::kFinal, good, [&] {
    return StrCat(
        "at the end ", KeyText(key), " is ",
        kv == nullptr ? std::string("not there") : StrCat("there with revision ", kv->mod_revision),
        "; the last that was acknowledged is ",
        fact.revision == 0
            ? std::string("nothing")
            : StrCat("its ", fact.deleted ? "delete" : "put", " at revision ", fact.revision));
  });
}

}  // namespace quorate::workload
