// What the peer port answers to requests as etcd's members and people send them: status codes and
// texts of etcd's rafthttp.
#include <catch2/catch.hpp>
#include <string>

#include "transport/collected_bytes.h"
#include "transport/peer/peer_identity.h"
#include "transport/peer/peer_test_member.h"
#include "transport/raw_peer.h"

namespace quorate::transport {
namespace {

constexpr MemberId kSelf{0x8211f1d0f64f3269};
constexpr MemberId kPeer{0x91bc3c398fb3c146};
constexpr std::string_view kPeerStream = "/raft/stream/message/91bc3c398fb3c146";

struct Request {
  std::string method = "GET";
  std::string path;
  std::string server_version = "3.7.1";
  std::string min_cluster_version = "3.0.0";
  std::string cluster = "cdf818194e3a8c32";
  std::string from = "91bc3c398fb3c146";
  std::string to = "8211f1d0f64f3269";
  std::string urls = "http://127.0.0.1:1";
  std::string body;
};

std::string Text(const Request& request) {
  std::string text = request.method + " " + request.path + " HTTP/1.1\r\nHost: test\r\n";
  const auto field = [&text](std::string_view name, const std::string& value) {
    if (!value.empty()) text.append(name).append(": ").append(value).append("\r\n");
  };
  field("X-Server-From", request.from);
  field("X-Server-Version", request.server_version);
  field("X-Min-Cluster-Version", request.min_cluster_version);
  field("X-Etcd-Cluster-ID", request.cluster);
  field("X-Raft-To", request.to);
  field("X-PeerURLs", request.urls);
  if (!request.body.empty()) field("Content-Length", std::to_string(request.body.size()));
  return text + "\r\n" + request.body;
}

std::string Ask(const TestMember& member, const Request& request) {
  RawPeer peer(member.port());
  REQUIRE(peer.Send(Text(request)));
  return peer.ReadHttpResponse();
}

void CheckAnswer(const std::string& answer, int status, const std::string& body) {
  CAPTURE(answer);
  CHECK(answer.rfind("HTTP/1.1 " + std::to_string(status) + " ", 0) == 0);
  const size_t end = answer.find("\r\n\r\n");
  REQUIRE(end != std::string::npos);
  CHECK(answer.substr(end + 4) == body);
}

std::string Encoded(const PeerMessage& message) {
  OutputBuffer out;
  EncodeMessage(message, &out);
  return CollectedBytes(&out);
}

TEST_CASE("streams are refused with etcd's codes and words") {
  TestMember member(kSelf);
  REQUIRE(member.links().AddPeer(kPeer, {"http://127.0.0.1:1"}).ok());
  const std::string path(kPeerStream);
  CheckAnswer(Ask(member, {.method = "POST", .path = path}), 405, "Method Not Allowed\n");
  CHECK_THAT(Ask(member, {.method = "POST", .path = path}), Catch::Contains("\r\nAllow: GET\r\n"));
  CheckAnswer(Ask(member, {.path = path, .server_version = "2.3.8"}), 412,
              "incompatible version\n");
  CheckAnswer(Ask(member, {.path = path, .server_version = ""}), 412, "incompatible version\n");
  CheckAnswer(Ask(member, {.path = path, .server_version = "x"}), 412, "incompatible version\n");
  CheckAnswer(Ask(member, {.path = path, .min_cluster_version = "3.8.0"}), 412,
              "incompatible version\n");
  CheckAnswer(Ask(member, {.path = path, .cluster = "abc"}), 412, "cluster ID mismatch\n");
  CheckAnswer(Ask(member, {.path = path, .to = "1"}), 412, "to field mismatch\n");
  CheckAnswer(Ask(member, {.path = "/raft/stream/other/1"}), 404, "invalid path\n");
  CheckAnswer(Ask(member, {.path = "/raft/stream/message/zz"}), 404, "invalid from\n");
  CheckAnswer(Ask(member, {.path = "/raft/stream/message/5"}), 404, "error sender not found\n");
  member.links().RemovePeer(MemberId(5));
  CheckAnswer(Ask(member, {.path = "/raft/stream/msgapp/5"}), 410, "removed member\n");
  CHECK_THAT(Ask(member, {.path = path, .to = "1"}),
             Catch::Contains("\r\nX-Server-Version: 3.7.1\r\n") &&
                 Catch::Contains("\r\nX-Etcd-Cluster-ID: cdf818194e3a8c32\r\n") &&
                 Catch::Contains("\r\nX-Content-Type-Options: nosniff\r\n"));
}

TEST_CASE("a stream carries messages in chunks; a second one of its kind takes its place") {
  TestMember member(kSelf);
  REQUIRE(member.links().AddPeer(kPeer, {"http://127.0.0.1:1"}).ok());
  const auto read_until = [](RawPeer* peer, const std::string& part) {
    std::string all;
    while (all.find(part) == std::string::npos) {
      const auto more = peer->ReadSome();
      if (!more.has_value()) break;
      all += *more;
    }
    CHECK_THAT(all, Catch::Contains(part));
  };
  RawPeer first(member.port());
  REQUIRE(first.Send(Text({.path = std::string(kPeerStream)})));
  // The link's heartbeat comes first.
  read_until(&first, std::string("a\r\n\0\0\0\0\0\0\0\2\x08\x08\r\n", 15));
  const PeerMessage message = TestMessage(raftpb::MsgVote, kSelf, kPeer, 9);
  member.links().Send(kPeer, {message});
  read_until(&first, Encoded(message));
  RawPeer second(member.port());
  REQUIRE(second.Send(Text({.path = std::string(kPeerStream)})));
  read_until(&second, std::string("\x08\x08\r\n"));
  first.ReadToEnd();
  member.links().Send(kPeer, {message});
  read_until(&second, Encoded(message));
}

TEST_CASE("a stream that its peer stops reading is cut, and what waits for it is dropped") {
  TestMember member(
      kSelf, [](PeerLinksOptions* options) { options->io_timeout_ns = 50 * kNanosPerMilli; });
  REQUIRE(member.links().AddPeer(kPeer, {"http://127.0.0.1:1"}).ok());
  RawPeer stream(member.port());
  REQUIRE(stream.Send(Text({.path = std::string(kPeerStream)})));
  REQUIRE(stream.ReadSome().has_value());
  // More than the sockets hold.
  PeerMessage append = TestMessage(raftpb::MsgApp, kSelf, kPeer, 1);
  append.entries.push_back(
      {Term(7), LogIndex(2), EntryType::kNormal, Bytes::FromString(std::string(1'000'000, 'x'))});
  member.links().Send(kPeer, std::vector<PeerMessage>(40, append));
  REQUIRE(member.WaitFor([](const auto& heard) { return heard.unreachable.contains(kPeer); }));
  const PeerStats stats = member.links().stats().front();
  CHECK(stats.streams_written == 0);
  CHECK(stats.sent_failures > 0);
}

TEST_CASE("POST /raft takes one message; what is wrong is answered in etcd's words") {
  TestMember member(kSelf);
  REQUIRE(member.links().AddPeer(kPeer, {"http://127.0.0.1:1"}).ok());
  const PeerMessage message = TestMessage(raftpb::MsgVote, kPeer, kSelf, 9);
  CheckAnswer(Ask(member, {.path = "/raft"}), 405, "Method Not Allowed\n");
  CheckAnswer(Ask(member, {.method = "POST", .path = "/raft", .cluster = "1"}), 412,
              "cluster ID mismatch\n");
  CheckAnswer(Ask(member, {.method = "POST", .path = "/raft", .body = "garbage"}), 400,
              "error unmarshalling raft message\n");
  CheckAnswer(Ask(member, {.method = "POST", .path = "/raft", .body = Encoded(message)}), 204, "");
  REQUIRE(
      member.WaitFor([](const TestMember::Heard& heard) { return heard.messages.size() == 1; }));
  CHECK(member.heard().messages.front().first == kPeer);
  // To somebody else: taken off the wire and dropped.
  CheckAnswer(Ask(member, {.method = "POST",
                           .path = "/raft",
                           .body = Encoded(TestMessage(raftpb::MsgVote, kPeer, MemberId(3), 9))}),
              204, "");
  member.links().RemovePeer(kPeer);
  CheckAnswer(Ask(member, {.method = "POST", .path = "/raft", .body = Encoded(message)}), 403,
              "cannot process message from removed member\n");
  CHECK(member.heard().messages.size() == 1);
}

TEST_CASE("POST /raft/snapshot without a snapshot is refused in etcd's words") {
  TestMember member(kSelf);
  const auto post = [&member](const std::string& body) {
    return Ask(member, {.method = "POST", .path = "/raft/snapshot", .body = body});
  };
  CheckAnswer(Ask(member, {.path = "/raft/snapshot"}), 405, "Method Not Allowed\n");
  CheckAnswer(post("123"), 400, "failed to decode raft message (unexpected EOF)\n");
  CHECK_THAT(
      post(std::string("\0\0\0\0\0\0\0\4garbage", 15)),
      Catch::Contains("400 Bad Request") && Catch::Contains("failed to decode raft message"));
  CHECK_THAT(
      post(std::string("\7\0\0\0\0\0\0\4garbage", 15)),
      Catch::Contains("400 Bad Request") && Catch::Contains("failed to decode raft message"));
  const std::string vote = Encoded(TestMessage(raftpb::MsgVote, kPeer, kSelf, 9));
  CheckAnswer(post(std::string("\0\0\0\0\0\0\0", 7) + static_cast<char>(vote.size()) + vote + "db"),
              400, "wrong raft message type\n");
  CHECK(member.heard().snapshots_begun == 0);
}

TEST_CASE("probing and the requests that are for the server, on one connection") {
  TestMember member(kSelf);
  RawPeer peer(member.port());
  REQUIRE(peer.Send("GET /raft/probing HTTP/1.1\r\nHost: x\r\n\r\n"));
  CHECK_THAT(peer.ReadHttpResponse(),
             Catch::Contains("200 OK") && Catch::Contains("{\"OK\":true,\"Now\":\"20"));
  REQUIRE(peer.Send("GET /members HTTP/1.1\r\nHost: x\r\n\r\n"));
  CheckAnswer(peer.ReadHttpResponse(), 200, "GET /members ");
  REQUIRE(
      peer.Send("POST /leases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  CheckAnswer(peer.ReadHttpResponse(), 200, "POST /leases abcde");
  REQUIRE(
      peer.Send("POST /leases HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                "Content-Length: 3\r\n\r\n"));
  CHECK_THAT(*peer.ReadSome(), Catch::StartsWith("HTTP/1.1 100 Continue\r\n\r\n"));
  REQUIRE(peer.Send("xyz"));
  CheckAnswer(peer.ReadHttpResponse(), 200, "POST /leases xyz");
  REQUIRE(peer.Send("HEAD /members HTTP/1.1\r\nHost: x\r\n\r\n"));
  CHECK_THAT(peer.ReadHttpHead(), Catch::Contains("Content-Length: 14\r\n"));
  REQUIRE(peer.Send("\x16\x03\x01 this is no request\r\n\r\n"));
  CHECK_THAT(peer.ReadToEnd(), Catch::Contains("400 Bad Request"));
}

TEST_CASE("what is too long for the server is refused before it is taken") {
  TestMember member(kSelf, [](PeerLinksOptions* options) { options->http_body_bytes_max = 1000; });
  RawPeer peer(member.port());
  REQUIRE(peer.Send("POST /leases HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
                    std::string(2000, 'x')));
  CHECK_THAT(peer.ReadToEnd(), Catch::StartsWith("HTTP/1.1 413 "));
  RawPeer http2(member.port());
  REQUIRE(http2.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  CHECK_THAT(http2.ReadToEnd(), Catch::StartsWith("HTTP/1.1 505 "));
}

}  // namespace
}  // namespace quorate::transport
