// The two framings of rafthttp's long-lived streams (all integers big-endian):
//
//   message:   u64 size, raftpb.Message
//   msgapp v2: 0x00                                             nothing new: keeps the link alive
//              0x01, u64 count, count x (u64 size, raftpb.Entry), u64 commit
//                                                               MsgApp that continues the last one
//              0x02, u64 size, raftpb.Message                   any MsgApp
//   Both ends of a msgapp stream remember term and index: after 0x02 the message's term and the
//   index of its last entry (its own index when it has none), after 0x01 the index grows by count.
//   0x01 stands for a MsgApp with term = log_term = the remembered term, index = the remembered
//   index.
//
// One thread each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "transport/output_buffer.h"
#include "transport/peer/peer_message.h"

namespace quorate::transport {

enum class StreamKind : uint8_t { kMessage, kAppend };

// "message" and "msgapp", as they stand in the path.
std::string_view StreamName(StreamKind kind);

// The message that keeps a link alive and means nothing to raft.
PeerMessage LinkHeartbeat();
bool IsLinkHeartbeat(const PeerMessage& message);

class StreamEncoder {
 public:
  explicit StreamEncoder(StreamKind kind) : kind_(kind) {}
  void Encode(const PeerMessage& message, OutputBuffer* out);

 private:
  void EncodeWhole(const PeerMessage& message, OutputBuffer* out);

  const StreamKind kind_;
  Term term_;
  LogIndex index_;
};

class StreamDecoder {
 public:
  struct Ends {
    MemberId from;
    MemberId to;
  };
  // `ends` are put into messages whose framing leaves them out. `bytes_max` is of one message;
  // memory is taken only as bytes come.
  StreamDecoder(StreamKind kind, const Ends& ends, uint64_t bytes_max)
      : kind_(kind), ends_(ends), bytes_max_(bytes_max) {
    StartFrame();
  }
  // Takes all of `data` and appends whole messages to *messages, link heartbeats left out.
  // kInvalidArgument when the bytes make no sense: nothing after them can be understood.
  absl::Status Feed(std::string_view data, std::vector<PeerMessage>* messages);

 private:
  enum class State { kType, kMessageSize, kMessage, kCount, kEntrySize, kEntry, kCommit };

  void StartFrame();
  void Expect(State state, uint64_t bytes);
  absl::Status OnPart(const Bytes& part, std::vector<PeerMessage>* messages);
  absl::Status OnSize(uint64_t size, State next);
  absl::Status OnMessage(const Bytes& part, std::vector<PeerMessage>* messages);
  absl::Status OnEntry(const Bytes& part);
  void AfterEntry();

  const StreamKind kind_;
  const Ends ends_;
  const uint64_t bytes_max_;
  State state_ = State::kType;
  uint64_t wanted_ = 0;  // bytes of the current part
  std::string partial_;
  Term term_;
  LogIndex index_;
  PeerMessage append_;  // being put together from 0x01
  uint64_t entries_left_ = 0;
  uint64_t append_bytes_ = 0;  // that its entries occupy
};

}  // namespace quorate::transport
