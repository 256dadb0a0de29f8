// Raft's messages as the members' wire carries them, one to one and back. Payloads are shared, not
// copied. Pure functions.
#pragma once

#include "absl/status/statusor.h"
#include "consensus/message.h"
#include "transport/peer/peer_message.h"

namespace quorate {

transport::PeerMessage ToPeerMessage(consensus::Message message);

// kInvalidArgument for a type that members do not send one another, or a MsgSnap that does not say
// what it is a snapshot of.
absl::StatusOr<consensus::Message> FromPeerMessage(transport::PeerMessage message);

}  // namespace quorate
