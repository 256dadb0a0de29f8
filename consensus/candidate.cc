// Elections: pre-vote, vote, and who may not have one (Raft §5.2, §5.4.1, thesis §4.2.3, §9.6).

#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::StartCampaign(Campaign kind) {
  QR_CHECK(Promotable() && leads() == nullptr);
  // A committed change that is not applied yet may have taken the vote away, or have changed whose
  // votes count; it will be applied soon. A member whose disk stalls would only lead until the
  // others notice. Either way it tries again with the next tick.
  if (log.HasConfChange(log.applied(), log.commit()) || DiskStalled()) return;
  RunCampaign(kind);
}

void RaftCore::RunCampaign(Campaign kind) {
  const bool pre = kind == Campaign::kPreVote;
  const Term asked = hard_state.term.Next();
  late_transfer_.reset();
  SetLeader(MemberId(0));
  ResetElectionTimer();
  if (!pre) {
    hard_state.term = asked;
    hard_state.vote = config.self;
  }
  Candidate candidate{.pre = pre};
  candidate.votes[config.self] = true;
  const bool won = CountVotes(conf, candidate.votes) == VoteResult::kWon;
  state = std::move(candidate);
  if (won) return pre ? RunCampaign(Campaign::kVote) : BecomeLeader();
  for (const MemberId voter : conf.Members()) {
    if (voter == config.self || !conf.IsVoter(voter)) continue;
    Message request{.type = pre ? MessageType::kPreVote : MessageType::kVote,
                    .to = voter,
                    .term = asked,
                    .log_term = log.last_term(),
                    .index = log.last_index()};
    if (kind == Campaign::kTransfer) request.context = Bytes::Static(kTransferContext);
    // A vote for oneself counts for others only when it cannot be forgotten.
    if (pre) {
      Send(std::move(request));
    } else {
      SendAfterDurable(std::move(request));
    }
  }
}

// A vote is not given while a leader is heard of: a member that was cut off or removed must not
// depose a working leader. Unless that leader wants it so.
bool RaftCore::IgnoresVoteRequest(const Message& message) const {
  const bool is_request =
      message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  return is_request && message.context.view() != kTransferContext && config.check_quorum &&
         leader.value() != 0 && election_elapsed_ < config.election_ticks;
}

// Learners answer too: one that was promoted may not know it yet, and its vote may be needed.
void RaftCore::HandleVoteRequest(const Message& message) {
  const bool pre = message.type == MessageType::kPreVote;
  const MessageType answer = pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
  const bool free_to_vote = hard_state.vote == message.from ||
                            (hard_state.vote.value() == 0 && leader.value() == 0) ||
                            (pre && message.term > hard_state.term);
  if (!free_to_vote || !log.UpToDate(message.index, message.log_term)) {
    // What is committed here is news to a candidate whose configuration is out of date: it may
    // count on voters that are none any more, and that have more in their logs than anybody will
    // commit.
    Send({.type = answer,
          .to = message.from,
          .log_term = *log.TermAt(log.commit()),
          .commit = log.commit(),
          .reject = true});
    return;
  }
  // A granted pre-vote answers in the term that was asked for.
  Message granted{.type = answer, .to = message.from, .term = message.term};
  if (pre) return Send(std::move(granted));
  election_elapsed_ = 0;
  hard_state.vote = message.from;
  SendAfterDurable(std::move(granted));
}

void RaftCore::HandleVoteResponse(const Message& message) {
  auto* candidate = std::get_if<Candidate>(&state);
  const bool pre_answer = message.type == MessageType::kPreVoteResponse;
  if (candidate == nullptr || candidate->pre != pre_answer) return;
  // A pre-vote granted for another term is an answer to an earlier question.
  if (pre_answer && !message.reject && message.term != hard_state.term.Next()) return;
  // Whoever says so: an entry that was committed somewhere is committed.
  if (message.reject && message.commit <= log.last_index() &&
      log.TermAt(message.commit) == message.log_term && log.Commit(message.commit) &&
      log.HasConfChange(log.applied(), log.commit())) {
    return BecomeFollower(hard_state.term, MemberId(0));  // and once more when that is applied
  }
  candidate->votes.emplace(message.from, !message.reject);
  switch (CountVotes(conf, candidate->votes)) {
    case VoteResult::kWon:
      return pre_answer ? RunCampaign(Campaign::kVote) : BecomeLeader();
    case VoteResult::kLost:
      return BecomeFollower(hard_state.term, MemberId(0));
    case VoteResult::kPending:
      return;
  }
}

}  // namespace quorate::consensus
