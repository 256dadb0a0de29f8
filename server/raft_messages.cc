#include "server/raft_messages.h"

#include <string>
#include <utility>
#include <vector>

namespace quorate {
namespace {

using consensus::ConfState;
using consensus::MessageType;
using consensus::SnapshotMeta;

template <class Repeated>
void PutIds(const std::vector<MemberId>& ids, Repeated* out) {
  for (const MemberId id : ids) out->Add(id.value());
}

template <class Repeated>
std::vector<MemberId> TakeIds(const Repeated& ids) {
  std::vector<MemberId> taken;
  for (const uint64_t id : ids) taken.emplace_back(id);
  return taken;
}

raftpb::Snapshot ToWire(const SnapshotMeta& meta) {
  raftpb::Snapshot snapshot;
  raftpb::SnapshotMetadata* const out = snapshot.mutable_metadata();
  out->set_index(meta.index.value());
  out->set_term(meta.term.value());
  raftpb::ConfState* const state = out->mutable_conf_state();
  PutIds(meta.conf_state.voters, state->mutable_voters());
  PutIds(meta.conf_state.learners, state->mutable_learners());
  PutIds(meta.conf_state.voters_outgoing, state->mutable_voters_outgoing());
  PutIds(meta.conf_state.learners_next, state->mutable_learners_next());
  state->set_auto_leave(meta.conf_state.auto_leave);
  return snapshot;
}

SnapshotMeta FromWire(const raftpb::SnapshotMetadata& wire) {
  const raftpb::ConfState& state = wire.conf_state();
  return {.index = LogIndex(wire.index()),
          .term = Term(wire.term()),
          .conf_state = {.voters = TakeIds(state.voters()),
                         .learners = TakeIds(state.learners()),
                         .voters_outgoing = TakeIds(state.voters_outgoing()),
                         .learners_next = TakeIds(state.learners_next()),
                         .auto_leave = state.auto_leave()}};
}

bool CrossesTheNetwork(raftpb::MessageType type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kPropose:
    case MessageType::kAppend:
    case MessageType::kAppendResponse:
    case MessageType::kVote:
    case MessageType::kVoteResponse:
    case MessageType::kSnapshot:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResponse:
    case MessageType::kTransferLeader:
    case MessageType::kTimeoutNow:
    case MessageType::kReadIndex:
    case MessageType::kReadIndexResponse:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResponse:
      return true;
  }
  return false;
}

}  // namespace

transport::PeerMessage ToPeerMessage(consensus::Message message) {
  transport::PeerMessage wire;
  wire.type = static_cast<raftpb::MessageType>(message.type);
  wire.to = message.to;
  wire.from = message.from;
  wire.term = message.term;
  wire.log_term = message.log_term;
  wire.index = message.index;
  wire.entries = std::move(message.entries);
  wire.commit = message.commit;
  if (message.snapshot != nullptr) wire.snapshot = ToWire(*message.snapshot);
  wire.reject = message.reject;
  wire.reject_hint = message.reject_hint;
  wire.context = std::move(message.context);
  return wire;
}

absl::StatusOr<consensus::Message> FromPeerMessage(transport::PeerMessage wire) {
  if (!CrossesTheNetwork(wire.type)) {
    return absl::InvalidArgumentError("raft message of type " +
                                      raftpb::MessageType_Name(wire.type) +
                                      " came from another member");
  }
  if (wire.type == raftpb::MsgSnap && !wire.snapshot.has_value()) {
    return absl::InvalidArgumentError("raft message MsgSnap without a snapshot");
  }
  consensus::Message message;
  message.type = static_cast<MessageType>(wire.type);
  message.to = wire.to;
  message.from = wire.from;
  message.term = wire.term;
  message.log_term = wire.log_term;
  message.index = wire.index;
  message.entries = std::move(wire.entries);
  message.commit = wire.commit;
  if (wire.snapshot.has_value()) {
    message.snapshot = std::make_shared<SnapshotMeta>(FromWire(wire.snapshot->metadata()));
  }
  message.reject = wire.reject;
  message.reject_hint = wire.reject_hint;
  message.context = std::move(wire.context);
  return message;
}

}  // namespace quorate
