// What members say to one another: raftpb.Message field for field, so that it converts to etcd's
// messages one to one. A field is meaningful for a type exactly where etcd/raft sets it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "consensus/conf_change.h"

namespace quorate::consensus {

// raftpb.MessageType numbers of the messages that cross a network.
enum class MessageType : uint8_t {
  kPropose = 2,  // a follower's proposals, to its leader; carries no term
  kAppend = 3,
  kAppendResponse = 4,
  kVote = 5,
  kVoteResponse = 6,
  kSnapshot = 7,
  kHeartbeat = 8,
  kHeartbeatResponse = 9,
  kTransferLeader = 13,  // a follower's wish, to its leader; `from` is who shall lead
  kTimeoutNow = 14,      // the leader's word to who shall lead
  kReadIndex = 15,  // a follower's, to its leader; entries[0].data is the read's context; no term
  kReadIndexResponse = 16,
  kPreVote = 17,
  kPreVoteResponse = 18,
};

// raftpb.SnapshotMetadata: the state that replaces all entries up to `index`.
struct SnapshotMeta {
  LogIndex index;
  Term term;  // of the entry at `index`
  ConfState conf_state;
  bool operator==(const SnapshotMeta&) const = default;
};

// `context` of a vote request after a transfer: the leader agreed, so stickiness does not hold.
inline constexpr char kTransferContext[] = "CampaignTransfer";

struct Message {
  MessageType type = MessageType::kHeartbeat;
  MemberId to;
  MemberId from;
  Term term;
  // kAppend: of the entry at `index`; vote requests: of the last entry; refused appends: a hint;
  // refused votes: of the entry at `commit` (etcd/raft neither sets nor reads the two there).
  Term log_term;
  LogIndex index;
  std::vector<Entry> entries;
  LogIndex commit;
  std::shared_ptr<const SnapshotMeta> snapshot;  // kSnapshot; the bytes travel beside the message
  bool reject = false;
  LogIndex reject_hint;
  Bytes context;
};

}  // namespace quorate::consensus
