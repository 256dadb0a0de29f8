// PeerMessage: one raft message between members, and its bytes. The same fields as raftpb.Message,
// but entries refer to their payloads (Bytes) instead of owning copies: a payload that came off one
// socket goes to the log and to other sockets as it is.
//
// The bytes are raftpb.Message's and raftpb.Entry's protobuf encoding (proto/raftpb.proto), written
// as etcd 3.7 writes them: fields that hold zero are left out. Read is whatever a protobuf writer
// may send: any order, explicit zeros (etcd before 3.7), unknown fields. Left out on purpose are
// `vote` and `responses`, which never leave an etcd process.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log_entry.h"
#include "proto/raftpb.pb.h"
#include "transport/output_buffer.h"

namespace quorate::transport {

struct PeerMessage {
  raftpb::MessageType type = raftpb::MsgHeartbeat;
  MemberId to;
  MemberId from;
  Term term;
  Term log_term;
  LogIndex index;
  std::vector<Entry> entries;
  LogIndex commit;
  std::optional<raftpb::Snapshot> snapshot;  // MsgSnap only
  bool reject = false;
  LogIndex reject_hint;
  Bytes context;
};

size_t EncodedEntryBytes(const Entry& entry);
void EncodeEntry(const Entry& entry, OutputBuffer* out);
size_t EncodedMessageBytes(const PeerMessage& message);
void EncodeMessage(const PeerMessage& message, OutputBuffer* out);

// Payloads refer to `bytes`. kInvalidArgument when the bytes are no such message, a member of an
// enum is unknown, or a nested length leads outside.
absl::StatusOr<Entry> DecodeEntry(const Bytes& bytes);
absl::StatusOr<PeerMessage> DecodeMessage(const Bytes& bytes);

}  // namespace quorate::transport
