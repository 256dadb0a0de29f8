// What a member does with a leader's messages (Raft §5.3; conflict hint as etcd/raft).

#include <algorithm>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::HandleAppend(const Message& message) {
  QR_CHECK_MSG(!std::holds_alternative<Leader>(state), "two leaders in one term");
  if (!std::holds_alternative<Follower>(state)) BecomeFollower(message.term, message.from);
  leader = message.from;
  election_elapsed_ = 0;
  Message answer{.type = MessageType::kAppendResponse, .to = message.from};
  if (message.index < log.commit()) {
    answer.index = log.commit();
    return SendAfterDurable(std::move(answer));
  }
  if (log.TermAt(message.index) != message.log_term) {
    // The newest place where both logs may still agree: not behind our end, and not in a term that
    // the leader's log did not have there.
    LogIndex hint = std::min(message.index, log.last_index());
    while (hint > log.commit() && log.TermAt(hint).value_or(Term(0)) > message.log_term) {
      hint = hint.Prev();
    }
    answer.index = message.index;
    answer.reject = true;
    answer.reject_hint = hint;
    answer.log_term = log.TermAt(hint).value_or(Term(0));
    return Send(std::move(answer));
  }
  log.Merge(message.entries);
  const LogIndex last_new(message.index.value() + message.entries.size());
  log.Commit(std::min(message.commit, last_new));
  answer.index = last_new;
  SendAfterDurable(std::move(answer));
}

void RaftCore::HandleHeartbeat(const Message& message) {
  QR_CHECK_MSG(!std::holds_alternative<Leader>(state), "two leaders in one term");
  if (!std::holds_alternative<Follower>(state)) BecomeFollower(message.term, message.from);
  leader = message.from;
  election_elapsed_ = 0;
  log.Commit(std::min(message.commit, log.last_index()));
  Send({.type = MessageType::kHeartbeatResponse, .to = message.from, .context = message.context});
}

}  // namespace quorate::consensus
