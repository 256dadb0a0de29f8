// Elections: pre-vote and vote (Raft §5.2, thesis §9.6).

#include <algorithm>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::Campaign(bool pre) {
  QR_CHECK(Promotable());
  const Term asked = hard_state.term.Next();
  leader = MemberId(0);
  ResetElectionTimer();
  if (!pre) {
    hard_state.term = asked;
    hard_state.vote = config.self;
  }
  Candidate candidate{.pre = pre};
  candidate.votes[config.self] = true;
  state = std::move(candidate);
  if (Quorum() == 1) return pre ? Campaign(/*pre=*/false) : BecomeLeader();
  for (const MemberId voter : conf.voters) {
    if (voter == config.self) continue;
    Message request{.type = pre ? MessageType::kPreVote : MessageType::kVote,
                    .to = voter,
                    .term = asked,
                    .log_term = log.last_term(),
                    .index = log.last_index()};
    // A vote for oneself counts for others only when it cannot be forgotten.
    if (pre) {
      Send(std::move(request));
    } else {
      SendAfterDurable(std::move(request));
    }
  }
}

void RaftCore::HandleVoteResponse(const Message& message) {
  auto* candidate = std::get_if<Candidate>(&state);
  const bool pre_answer = message.type == MessageType::kPreVoteResponse;
  if (candidate == nullptr || candidate->pre != pre_answer || !IsVoter(message.from)) return;
  candidate->votes[message.from] = !message.reject;
  size_t granted = 0;
  for (const auto& [voter, vote] : candidate->votes) granted += vote ? 1 : 0;
  if (granted >= Quorum()) {
    if (pre_answer) return Campaign(/*pre=*/false);
    return BecomeLeader();
  }
  const size_t refused = candidate->votes.size() - granted;
  if (refused >= Quorum()) BecomeFollower(hard_state.term, MemberId(0));
}

}  // namespace quorate::consensus
