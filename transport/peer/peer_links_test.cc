#include "transport/peer/peer_links.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "transport/peer/peer_queue.h"
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

size_t Indexed(const Heard& heard, uint64_t index) {
  size_t count = 0;
  for (const auto& [from, message] : heard.messages) count += message.index.value() == index;
  return count;
}

TEST_CASE("a member that restarts is connected to again, both ways, and a third notices nothing") {
  TestMember one(kOne);
  TestMember two(kTwo);
  TestMember three(kThree);
  Introduce({&one, &two, &three});
  REQUIRE(one.WaitStreams(kTwo));
  REQUIRE(one.WaitStreams(kThree));
  two.Stop();
  REQUIRE(one.WaitFor([](const Heard& heard) { return heard.unreachable.contains(kTwo); }));
  CHECK(one.links().ActiveSinceNs(kTwo) == 0);
  for (uint64_t i = 1; i <= 100; ++i) {
    one.links().Send(kTwo, {TestMessage(raftpb::MsgHeartbeat, kOne, kTwo, i)});
    one.links().Send(kThree, {TestMessage(raftpb::MsgHeartbeat, kOne, kThree, i)});
  }
  REQUIRE(three.WaitFor([](const Heard& heard) { return heard.messages.size() == 100; }));
  CHECK(one.heard().unreachable[kThree] == 0);
  two.Restart();
  REQUIRE(two.links().AddPeer(kOne, {one.url()}).ok());
  REQUIRE(one.WaitStreams(kTwo));
  REQUIRE(two.WaitStreams(kOne));
  CHECK(one.links().ActiveSinceNs(kTwo) != 0);
  two.Forget();
  one.links().Send(kTwo, {AppendWithEntries(kOne, kTwo, 1000, 3, 5000)});
  REQUIRE(two.WaitFor([](const Heard& heard) { return Indexed(heard, 1000) == 1; }));
}

TEST_CASE("without streams messages go by POST, and a caller that nobody knows gets its answers") {
  TestMember one(kOne);
  TestMember two(kTwo);
  // Two never hears of one, so it refuses its streams; one still gets through.
  REQUIRE(one.links().AddPeer(kTwo, {two.url()}).ok());
  one.links().Send(kTwo, {AppendWithEntries(kOne, kTwo, 5, 2, 100)});
  REQUIRE(two.WaitFor([](const Heard& heard) { return Indexed(heard, 5) == 1; }));
  two.links().Send(kOne, {TestMessage(raftpb::MsgAppResp, kTwo, kOne, 6)});
  REQUIRE(one.WaitFor([](const Heard& heard) { return Indexed(heard, 6) == 1; }));
  CHECK(one.heard().messages.front().first == kTwo);
}

TEST_CASE("a peer that does not read fills its own queue, reserved share last, and no other's") {
  TestMember one(kOne, [](PeerLinksOptions* options) {
    options->queue_messages_max = 1000;
    options->queue_bytes_max = 1 << 20;
  });
  TestMember three(kThree);
  // Listens and takes nothing: messages can only wait.
  RawListener silent;
  Introduce({&one, &three});
  REQUIRE(one.WaitStreams(kThree));
  REQUIRE(one.links().AddPeer(kTwo, {silent.url()}).ok());
  for (uint64_t i = 1; i <= 200; ++i) {
    one.links().Send(kTwo, {AppendWithEntries(kOne, kTwo, i, 1, 100'000)});
    one.links().Send(kThree, {AppendWithEntries(kOne, kThree, i, 1, 100)});
  }
  REQUIRE(one.WaitFor([](const Heard& heard) { return heard.unreachable.contains(kTwo); }));
  REQUIRE(three.WaitFor([](const Heard& heard) { return heard.messages.size() == 200; }));
  CHECK(one.heard().unreachable[kThree] == 0);
}

TEST_CASE("queues: appends leave room for heartbeats, and those overtake") {
  PeerQueue queue({.messages_max = 8, .bytes_max = 8000});
  const auto append = [](uint64_t index, size_t bytes) {
    std::vector<PeerMessage> messages;
    messages.push_back(AppendWithEntries(kOne, kTwo, index, 1, bytes));
    return messages;
  };
  const auto heartbeat = [](uint64_t index) {
    std::vector<PeerMessage> messages;
    messages.push_back(TestMessage(raftpb::MsgHeartbeat, kOne, kTwo, index));
    return messages;
  };
  CHECK(queue.Push(append(1, 100)).wake);
  for (uint64_t i = 2; i <= 6; ++i) {
    const PeerQueue::Pushed pushed = queue.Push(append(i, 100));
    CHECK(pushed.dropped == 0);
    CHECK(!pushed.wake);
  }
  CHECK(queue.Push(append(7, 100)).dropped == 1);
  CHECK(queue.Push(heartbeat(50)).dropped == 0);
  CHECK(queue.Push(heartbeat(51)).dropped == 0);
  CHECK(queue.Push(heartbeat(52)).dropped == 1);
  queue.Collect();
  CHECK(queue.Pop(PeerQueue::Take::kAll).index.value() == 50);
  CHECK(queue.Pop(PeerQueue::Take::kAppendsOnly).index.value() == 1);
  CHECK(queue.Pop(PeerQueue::Take::kAll).index.value() == 51);
  CHECK(queue.Clear() == 5);
  // Larger than everything, but alone.
  CHECK(queue.Push(append(8, 100'000)).dropped == 0);
  CHECK(queue.Push(append(9, 100)).dropped == 1);
}

TEST_CASE("queues: of answers to appends in one batch only the last is sent") {
  PeerQueue queue({.messages_max = 100, .bytes_max = 1 << 20});
  std::vector<PeerMessage> messages;
  for (uint64_t i = 1; i <= 5; ++i) {
    messages.push_back(TestMessage(raftpb::MsgAppResp, kOne, kTwo, i));
  }
  messages.push_back(TestMessage(raftpb::MsgAppResp, kOne, kTwo, 3));
  messages.back().reject = true;
  queue.Push(std::move(messages));
  queue.Collect();
  CHECK(queue.Pop(PeerQueue::Take::kAll).index.value() == 5);
  CHECK(queue.Pop(PeerQueue::Take::kAll).reject);
  CHECK(queue.Empty(PeerQueue::Take::kAll));
}

TEST_CASE("a member of another cluster, or of a version too old, is refused and hears why") {
  TestMember one(kOne);
  TestMember stranger(kTwo, [](PeerLinksOptions* options) { options->cluster = ClusterId(77); });
  TestMember old(kThree, [](PeerLinksOptions* options) {
    options->server_version = "2.3.8";
    options->min_cluster_version = "2.1.0";
  });
  Introduce({&one, &stranger});
  Introduce({&one, &old});
  for (TestMember* refused : {&stranger, &old}) {
    refused->links().Send(kOne, {TestMessage(raftpb::MsgHeartbeat, refused->id(), kOne, 9)});
    REQUIRE(refused->WaitFor([](const Heard& heard) { return heard.unreachable.contains(kOne); }));
    CHECK(refused->links().ActiveSinceNs(kOne) == 0);
  }
  CHECK(one.heard().messages.empty());
}

TEST_CASE("a removed member is told so, by stream and by POST, and its messages are not taken") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  REQUIRE(one.WaitStreams(kTwo));
  one.links().RemovePeer(kTwo);
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.removed_by.contains(kOne); }));
  two.Forget();
  two.links().Send(kOne, {TestMessage(raftpb::MsgVote, kTwo, kOne, 9)});
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.unreachable.contains(kOne); }));
  CHECK(one.heard().messages.empty());
  CHECK(one.links().stats().empty());
  CHECK(one.links().AddPeer(kTwo, {two.url()}).code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a peer whose address changes is found at the new one") {
  TestMember one(kOne);
  TestMember two(kTwo);
  RawListener nobody;
  REQUIRE(one.links().AddPeer(kTwo, {nobody.url()}).ok());
  REQUIRE(one.links().UpdatePeer(kTwo, {two.url()}).ok());
  REQUIRE(two.links().AddPeer(kOne, {one.url()}).ok());
  REQUIRE(one.WaitStreams(kTwo));
  CHECK(!one.links().UpdatePeer(kTwo, {"ftp://127.0.0.1:1"}).ok());
  CHECK(!one.links().AddPeer(kThree, {}).ok());
}

TEST_CASE("of several addresses the one that answers is found; names are looked up") {
  TestMember one(kOne);
  TestMember two(kTwo);
  RawListener closed;
  const std::string dead_url = closed.url();
  closed.Close();
  REQUIRE(
      one.links().AddPeer(kTwo, {dead_url, "http://localhost:" + std::to_string(two.port())}).ok());
  REQUIRE(two.links().AddPeer(kOne, {one.url()}).ok());
  REQUIRE(one.WaitStreams(kTwo));
}

TEST_CASE("a peer that says nothing for the time limit is cut and dialled again") {
  RawListener silent;
  TestMember one(kOne, [](PeerLinksOptions* options) {
    options->io_timeout_ns = 50 * kNanosPerMilli;
    options->dial_retry_max_ns = options->dial_retry_min_ns;
  });
  REQUIRE(one.links().AddPeer(kTwo, {silent.url()}).ok());
  // Two streams; a third connection is the second attempt at one of them.
  CHECK(silent.AcceptMany(3));
}

TEST_CASE("garbage instead of a stream or an answer ends that connection and nothing else") {
  RawListener liar;
  TestMember one(kOne, [](PeerLinksOptions* options) {
    options->dial_retry_max_ns = options->dial_retry_min_ns;
  });
  REQUIRE(one.links().AddPeer(kTwo, {liar.url()}).ok());
  const std::string garbage[] = {
      "SSH-2.0-OpenSSH_9.2\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x07\x07\x07\x07\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
      "chunked\r\n\r\n8\r\n\xff\xff\xff\xff\xff\xff\xff\xff\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nno\n",
  };
  for (const std::string& bytes : garbage) {
    // Each of the two streams gets it.
    CHECK(liar.AnswerOnce(bytes));
    CHECK(liar.AnswerOnce(bytes));
  }
  TestMember three(kThree);
  Introduce({&one, &three});
  REQUIRE(one.WaitStreams(kThree));
  CHECK(one.heard().messages.empty());
}

TEST_CASE("peers are probed") {
  TestMember one(
      kOne, [](PeerLinksOptions* options) { options->probe_interval_ns = 10 * kNanosPerMilli; });
  TestMember two(kTwo);
  Introduce({&one, &two});
  REQUIRE(one.WaitFor([](const Heard& heard) {
    const auto found = heard.round_trips.find(kTwo);
    return found != heard.round_trips.end() && found->second >= 3;
  }));
}

}  // namespace
}  // namespace quorate::transport
