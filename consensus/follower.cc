// What a member does with a leader's appends and heartbeats (Raft §5.3; the hint at conflicts as in
// etcd/raft).

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

void RaftCore::HearLeader(const Message& message) {
  QR_CHECK_MSG(leads() == nullptr, "two leaders in one term");
  if (!std::holds_alternative<Follower>(state)) BecomeFollower(message.term, message.from);
  SetLeader(message.from);
  election_elapsed_ = 0;
}

void RaftCore::HandleAppend(Message message) {
  HearLeader(message);
  // Its place is taken by a snapshot soon; the leader asks again.
  if (installing) return;
  const LogIndex last_new(message.index.value() + message.entries.size());
  for (size_t i = 0; i < message.entries.size(); ++i) {
    if (message.entries[i].index.value() != message.index.value() + 1 + i) return;  // garbled
  }
  Message answer{.type = MessageType::kAppendResponse, .to = message.from};
  if (message.index < log.commit()) {
    answer.index = log.commit();
    return SendAfterDurable(std::move(answer));
  }
  if (log.TermAt(message.index) != message.log_term) {
    // The newest place where both logs may still agree: not behind our end, and not in a term that
    // is newer than what the leader's log had there. What is committed here is there too.
    LogIndex hint = std::min(message.index, log.last_index());
    while (hint > log.commit() && *log.TermAt(hint) > message.log_term) hint = hint.Prev();
    answer.index = message.index;
    answer.reject = true;
    answer.reject_hint = hint;
    answer.log_term = log.TermAt(hint).value_or(Term(0));
    return Send(std::move(answer));
  }
  log.Merge(std::move(message.entries));
  log.Commit(std::min(message.commit, last_new));
  answer.index = last_new;
  SendAfterDurable(std::move(answer));
}

void RaftCore::HandleHeartbeat(const Message& message) {
  HearLeader(message);
  if (!installing) log.Commit(std::min(message.commit, log.last_index()));
  Send({.type = MessageType::kHeartbeatResponse, .to = message.from, .context = message.context});
}

}  // namespace quorate::consensus
