#include "server/raft_messages.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/random.h"
#include "base/test_seed.h"
#include "transport/collected_bytes.h"

namespace quorate {
namespace {

using consensus::Message;
using consensus::MessageType;
using consensus::SnapshotMeta;

constexpr MessageType kTypes[] = {
    MessageType::kPropose,        MessageType::kAppend,
    MessageType::kAppendResponse, MessageType::kVote,
    MessageType::kVoteResponse,   MessageType::kSnapshot,
    MessageType::kHeartbeat,      MessageType::kHeartbeatResponse,
    MessageType::kTransferLeader, MessageType::kTimeoutNow,
    MessageType::kReadIndex,      MessageType::kReadIndexResponse,
    MessageType::kPreVote,        MessageType::kPreVoteResponse,
};

// Small and large numbers, and zero, which the wire leaves out.
uint64_t Number(Random* random) {
  switch (random->Below(3)) {
    case 0:
      return 0;
    case 1:
      return random->Below(300);
    default:
      return random->Next();
  }
}

Bytes Payload(Random* random) {
  return Bytes::FromString(std::string(random->Below(200), static_cast<char>(random->Below(256))));
}

Message AnyMessage(MessageType type, Random* random) {
  Message message;
  message.type = type;
  message.to = MemberId(random->Next());
  message.from = MemberId(random->Next());
  message.term = Term(Number(random));
  message.log_term = Term(Number(random));
  message.index = LogIndex(Number(random));
  const uint64_t entries = random->Below(4);
  for (uint64_t i = 0; i < entries; ++i) {
    message.entries.push_back({Term(Number(random)), LogIndex(Number(random)),
                               static_cast<EntryType>(random->Below(3)), Payload(random)});
  }
  message.commit = LogIndex(Number(random));
  message.reject = random->Below(2) == 1;
  message.reject_hint = LogIndex(Number(random));
  message.context = Payload(random);
  if (type != MessageType::kSnapshot) return message;
  SnapshotMeta meta;
  meta.index = LogIndex(1 + random->Below(1000));
  meta.term = Term(1 + random->Below(1000));
  meta.conf_state.voters = {MemberId(1), MemberId(random->Next())};
  meta.conf_state.learners = {MemberId(random->Next())};
  meta.conf_state.voters_outgoing = {MemberId(5), MemberId(6)};
  meta.conf_state.learners_next = {MemberId(6)};
  meta.conf_state.auto_leave = random->Below(2) == 1;
  message.snapshot = std::make_shared<SnapshotMeta>(meta);
  return message;
}

TEST_CASE("every message that raft sends comes back from the wire as it was") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 500; ++round) {
    for (const MessageType type : kTypes) {
      const Message sent = AnyMessage(type, &random);
      transport::OutputBuffer encoded;
      transport::EncodeMessage(ToPeerMessage(sent), &encoded);
      const absl::StatusOr<transport::PeerMessage> decoded =
          transport::DecodeMessage(Bytes::FromString(transport::CollectedBytes(&encoded)));
      REQUIRE(decoded.ok());
      const absl::StatusOr<Message> received = FromPeerMessage(*decoded);
      REQUIRE(received.ok());
      CHECK(received->type == sent.type);
      CHECK(received->to == sent.to);
      CHECK(received->from == sent.from);
      CHECK(received->term == sent.term);
      CHECK(received->log_term == sent.log_term);
      CHECK(received->index == sent.index);
      CHECK(received->commit == sent.commit);
      CHECK(received->reject == sent.reject);
      CHECK(received->reject_hint == sent.reject_hint);
      CHECK(received->context.view() == sent.context.view());
      REQUIRE(received->entries.size() == sent.entries.size());
      for (size_t i = 0; i < sent.entries.size(); ++i) {
        CHECK(received->entries[i].term == sent.entries[i].term);
        CHECK(received->entries[i].index == sent.entries[i].index);
        CHECK(received->entries[i].type == sent.entries[i].type);
        CHECK(received->entries[i].data.view() == sent.entries[i].data.view());
      }
      REQUIRE((received->snapshot == nullptr) == (sent.snapshot == nullptr));
      if (sent.snapshot != nullptr) CHECK(*received->snapshot == *sent.snapshot);
    }
  }
}

TEST_CASE("what only etcd's raft tells itself is not taken from another member") {
  transport::PeerMessage wire;
  for (const raftpb::MessageType type :
       {raftpb::MsgHup, raftpb::MsgBeat, raftpb::MsgUnreachable, raftpb::MsgSnapStatus,
        raftpb::MsgCheckQuorum, raftpb::MsgStorageAppend, raftpb::MsgForgetLeader}) {
    wire.type = type;
    CHECK(FromPeerMessage(wire).status().code() == absl::StatusCode::kInvalidArgument);
  }
  wire.type = raftpb::MsgSnap;
  CHECK(FromPeerMessage(wire).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quorate
