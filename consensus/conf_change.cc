// The rules of membership changes, as etcd/raft's confchange.Changer has them.

#include "consensus/conf_change.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "absl/status/status.h"
#include "base/text.h"

namespace quorate::consensus {
namespace {

using Ids = std::vector<MemberId>;

bool Has(const Ids& ids, MemberId id) { return std::binary_search(ids.begin(), ids.end(), id); }

void Insert(Ids* ids, MemberId id) {
  const auto at = std::lower_bound(ids->begin(), ids->end(), id);
  if (at == ids->end() || *at != id) ids->insert(at, id);
}

void Erase(Ids* ids, MemberId id) { std::erase(*ids, id); }

void Sort(ConfState* state) {
  for (Ids* ids :
       {&state->voters, &state->learners, &state->voters_outgoing, &state->learners_next}) {
    std::sort(ids->begin(), ids->end());
    ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  }
}

void MakeVoter(ConfState* state, MemberId id) {
  Erase(&state->learners, id);
  Erase(&state->learners_next, id);
  Insert(&state->voters, id);
}

// A voter of the outgoing half still votes there, so it can be a learner only when that is left.
void MakeLearner(ConfState* state, MemberId id) {
  Erase(&state->voters, id);
  Insert(Has(state->voters_outgoing, id) ? &state->learners_next : &state->learners, id);
}

void Remove(ConfState* state, MemberId id) {
  Erase(&state->voters, id);
  Erase(&state->learners, id);
  Erase(&state->learners_next, id);
}

absl::Status ApplyEach(const std::vector<ConfChangeSingle>& changes, ConfState* state) {
  for (const ConfChangeSingle& change : changes) {
    if (change.member.value() == 0) continue;
    switch (change.type) {
      case ConfChangeType::kAddVoter:
        MakeVoter(state, change.member);
        break;
      case ConfChangeType::kAddLearner:
        MakeLearner(state, change.member);
        break;
      case ConfChangeType::kRemoveMember:
        Remove(state, change.member);
        break;
      case ConfChangeType::kUpdateMember:
        break;
    }
  }
  if (state->voters.empty()) return absl::InvalidArgumentError("no voter would be left");
  return absl::OkStatus();
}

absl::StatusOr<ConfState> LeaveJoint(ConfState state) {
  if (!state.joint()) {
    return absl::FailedPreconditionError("there is no joint configuration to leave");
  }
  for (const MemberId id : state.learners_next) Insert(&state.learners, id);
  state.learners_next.clear();
  state.voters_outgoing.clear();
  state.auto_leave = false;
  return state;
}

absl::StatusOr<ConfState> EnterJoint(ConfState state, const ConfChange& change) {
  if (state.joint()) return absl::FailedPreconditionError("the configuration is joint already");
  if (state.voters.empty()) {
    return absl::FailedPreconditionError("a group without voters cannot become joint");
  }
  state.voters_outgoing = state.voters;
  if (absl::Status status = ApplyEach(change.changes, &state); !status.ok()) return status;
  state.auto_leave = change.transition != ConfChangeTransition::kJointExplicit;
  return state;
}

absl::StatusOr<ConfState> ChangeOne(ConfState state, const ConfChange& change) {
  if (state.joint()) return absl::FailedPreconditionError("the configuration is joint");
  const Ids before = state.voters;
  if (absl::Status status = ApplyEach(change.changes, &state); !status.ok()) return status;
  Ids differing;
  std::set_symmetric_difference(before.begin(), before.end(), state.voters.begin(),
                                state.voters.end(), std::back_inserter(differing));
  if (differing.size() > 1) {
    return absl::InvalidArgumentError("several voters change without a joint configuration");
  }
  return state;
}

}  // namespace

bool ConfState::IsVoter(MemberId id) const { return Has(voters, id) || Has(voters_outgoing, id); }

bool ConfState::IsLearner(MemberId id) const { return Has(learners, id); }

std::vector<MemberId> ConfState::Members() const {
  Ids all = voters;
  all.insert(all.end(), voters_outgoing.begin(), voters_outgoing.end());
  all.insert(all.end(), learners.begin(), learners.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

absl::StatusOr<ConfState> ChangeConf(const ConfState& state, const ConfChange& change) {
  ConfState sorted = state;
  Sort(&sorted);
  if (change.LeavesJoint()) return LeaveJoint(std::move(sorted));
  const bool joint = change.transition != ConfChangeTransition::kAuto || change.changes.size() > 1;
  return joint ? EnterJoint(std::move(sorted), change) : ChangeOne(std::move(sorted), change);
}

std::string ToText(const ConfState& state) {
  const auto append = [](std::string* out, std::string_view name, const Ids& ids) {
    StrAppend(out, name, "(");
    for (size_t i = 0; i < ids.size(); ++i) StrAppend(out, i == 0 ? "" : " ", ids[i].value());
    *out += ")";
  };
  std::string out;
  append(&out, "voters=", state.voters);
  if (state.joint()) append(&out, "&&", state.voters_outgoing);
  if (!state.learners.empty()) append(&out, " learners=", state.learners);
  if (!state.learners_next.empty()) append(&out, " learners_next=", state.learners_next);
  if (state.auto_leave) out += " autoleave";
  return out;
}

}  // namespace quorate::consensus
