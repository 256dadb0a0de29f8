// Who belongs to a group, and how that changes: one member at a time (thesis §4.1-4.2) or several
// at once through a joint configuration (Raft §6, thesis §4.3). The rules are etcd/raft's
// `confchange`; the bytes are raftpb's ConfChange and ConfChangeV2, so that logs and messages can
// be read by either side.
// Pure functions and plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"

namespace quorate::consensus {

// Members by role, each list sorted and without repetition.
struct ConfState {
  std::vector<MemberId> voters;    // the incoming half while joint
  std::vector<MemberId> learners;  // get entries, have no vote
  // The rest is set only while a joint change is under way.
  std::vector<MemberId> voters_outgoing;
  // Voters of the outgoing half that become learners when it is left.
  std::vector<MemberId> learners_next;
  bool auto_leave = false;  // the leader proposes leaving by itself
  bool operator==(const ConfState&) const = default;

  bool joint() const { return !voters_outgoing.empty(); }
  bool IsVoter(MemberId id) const;  // of either half
  bool IsLearner(MemberId id) const;
  bool Contains(MemberId id) const { return IsVoter(id) || IsLearner(id); }
  // Voters of both halves and learners, sorted.
  std::vector<MemberId> Members() const;
};

// raftpb.ConfChangeType
enum class ConfChangeType : uint8_t {
  kAddVoter = 0,  // also promotes a learner
  kRemoveMember = 1,
  kUpdateMember = 2,  // changes nothing here: what the context says concerns the application
  kAddLearner = 3,    // also demotes a voter
};

// raftpb.ConfChangeTransition
enum class ConfChangeTransition : uint8_t {
  kAuto = 0,           // joint (and left by itself) only when more than one member changes
  kJointImplicit = 1,  // always joint, left by itself
  kJointExplicit = 2,  // always joint, left by a change that leaves
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddVoter;
  MemberId member;  // 0 = no change at all (how an application voids a change that it refuses)
  bool operator==(const ConfChangeSingle&) const = default;
};

struct ConfChange {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  uint64_t id = 0;  // raftpb.ConfChange.ID, the application's; lost where `changes` is not single
  Bytes context;    // the application's

  // An empty change takes the group out of a joint configuration.
  bool LeavesJoint() const { return transition == ConfChangeTransition::kAuto && changes.empty(); }
};

// The configuration after `change`. kFailedPrecondition when the change is not allowed in `state`
// (joint within joint, leaving where nothing is joint), kInvalidArgument when it is allowed in none
// (no voter would be left, several voters changed without a joint configuration). All members come
// to the same answer.
absl::StatusOr<ConfState> ChangeConf(const ConfState& state, const ConfChange& change);

// A change as an entry holds it. One single change with automatic transition becomes
// raftpb.ConfChange (EntryType::kConfChange), all else raftpb.ConfChangeV2.
struct EncodedConfChange {
  EntryType type = EntryType::kConfChange;
  Bytes data;
};
EncodedConfChange EncodeConfChange(const ConfChange& change);
// kInvalidArgument when `data` is no such message or `type` is kNormal. Fields of newer versions
// are passed over.
absl::StatusOr<ConfChange> DecodeConfChange(EntryType type, const Bytes& data);

// For people: "voters=(1 2 3)&&(1 2) learners=(4) learners_next=(3) autoleave".
std::string ToText(const ConfState& state);

}  // namespace quorate::consensus
