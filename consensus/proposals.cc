// How entries come into the log: proposed at the leader, or forwarded to it.

#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {

absl::Status RaftCore::Propose(std::vector<Entry> entries) {
  if (leads() != nullptr) return Accept(std::move(entries));
  if (leader.value() == 0) return absl::UnavailableError("raft proposal dropped");
  Send({.type = MessageType::kPropose, .to = leader, .entries = std::move(entries)});
  return absl::OkStatus();
}

absl::Status RaftCore::ProposeConfChange(const ConfChange& change) {
  EncodedConfChange encoded = EncodeConfChange(change);
  std::vector<Entry> entries(1);
  entries[0].type = encoded.type;
  entries[0].data = std::move(encoded.data);
  return Propose(std::move(entries));
}

absl::Status RaftCore::CheckConfChange(const ConfChange& change) const {
  // One change at a time: only then is what it was checked against what it will be applied to, and
  // do quorums before and after it overlap (thesis §4.1).
  if (leads()->pending_conf > log.applied()) {
    return absl::FailedPreconditionError("a membership change is under way");
  }
  return ChangeConf(conf, change).status();
}

absl::Status RaftCore::Accept(std::vector<Entry> entries) {
  Leader& lead = *leads();
  if (lead.transferee.value() != 0 || lead.leaves) {
    return absl::UnavailableError("raft proposal dropped: the lead is being handed over");
  }
  uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.data.size();
  if (log.uncommitted_bytes() != 0 && bytes != 0 &&
      log.uncommitted_bytes() + bytes > config.uncommitted_bytes_max) {
    return absl::ResourceExhaustedError("too many uncommitted proposals");
  }
  for (Entry& entry : entries) {
    entry.term = hard_state.term;
    entry.index = log.last_index().Next();
    if (entry.type != EntryType::kNormal) {
      QR_CHECK(entries.size() == 1);
      absl::StatusOr<ConfChange> change = DecodeConfChange(entry.type, entry.data);
      if (!change.ok()) return change.status();
      if (absl::Status status = CheckConfChange(*change); !status.ok()) return status;
      lead.pending_conf = entry.index;
    }
    log.Append(std::move(entry));
  }
  lead.sends_due = true;
  return absl::OkStatus();
}

void RaftCore::HandlePropose(Message message) {
  if (leads() != nullptr) {
    // Whoever asked waits for the entry to be applied, and hears of a refusal by its time limit.
    for (Entry& entry : message.entries) Accept({std::move(entry)}).IgnoreError();
    return;
  }
  // The lead has moved since it was sent. It is passed on once more, but not back.
  if (leader.value() == 0 || leader == message.from) return;
  message.to = leader;
  Send(std::move(message));
}

}  // namespace quorate::consensus
