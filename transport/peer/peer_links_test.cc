#include "transport/peer/peer_links.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "transport/peer/peer_test_member.h"

namespace quorate::transport {
namespace {

constexpr MemberId kOne{0x8211f1d0f64f3269};
constexpr MemberId kTwo{0x91bc3c398fb3c146};
constexpr MemberId kThree{0xfd422379fda50e48};

using Heard = TestMember::Heard;

PeerMessage AppendWithEntries(MemberId from, MemberId to, uint64_t index, size_t entries,
                              size_t bytes) {
  PeerMessage message = TestMessage(raftpb::MsgApp, from, to, index);
  for (size_t i = 0; i < entries; ++i) {
    message.entries.push_back({Term(7), LogIndex(index + 1 + i), EntryType::kNormal,
                               Bytes::FromString(std::string(bytes, 'a' + i % 26))});
  }
  return message;
}

TEST_CASE("three members hear each other, appends and the rest, each once and in order") {
  TestMember one(kOne);
  TestMember two(kTwo);
  TestMember three(kThree);
  Introduce({&one, &two, &three});
  const std::vector<TestMember*> all = {&one, &two, &three};
  for (TestMember* member : all) {
    for (TestMember* other : all) {
      if (member != other) REQUIRE(member->WaitStreams(other->id()));
    }
  }
  constexpr uint64_t kRounds = 200;
  for (uint64_t i = 1; i <= kRounds; ++i) {
    for (TestMember* from : all) {
      for (TestMember* to : all) {
        if (from == to) continue;
        from->links().Send(to->id(), {AppendWithEntries(from->id(), to->id(), i, 1, 100),
                                      TestMessage(raftpb::MsgHeartbeat, from->id(), to->id(), i)});
      }
    }
  }
  for (TestMember* member : all) {
    REQUIRE(member->WaitFor(
        [&](const Heard& heard) { return heard.messages.size() == 2 * 2 * kRounds; }));
    for (TestMember* from : all) {
      uint64_t append = 0;
      uint64_t heartbeat = 0;
      for (const auto& [sender, message] : member->heard().messages) {
        if (sender != from->id()) continue;
        CHECK(message.from == sender);
        CHECK(message.to == member->id());
        uint64_t& last = message.type == raftpb::MsgApp ? append : heartbeat;
        CHECK(message.index.value() == last + 1);
        last = message.index.value();
        if (message.type == raftpb::MsgApp) {
          REQUIRE(message.entries.size() == 1);
          CHECK(message.entries[0].index.value() == last + 1);
          CHECK(message.entries[0].data.view() == std::string(100, 'a'));
        }
      }
    }
  }
}

}  // namespace
}  // namespace quorate::transport
