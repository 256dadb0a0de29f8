// What the native server does on HTTP/2 that a well-behaved gRPC client never shows.
#include <catch2/catch.hpp>
#include <string>

#include "transport/grpc_wire.h"
#include "transport/raw_peer.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

using Catch::Contains;

// Sends one request head (END_STREAM) and returns the head of the answer.
std::map<std::string, std::string> Ask(RawPeer* peer, uint32_t stream, const HeaderFields& fields) {
  peer->SendFrame(kHeaders, kEndHeaders | kEndStream, stream, EncodeHeaders(fields));
  return peer->ReadHeaders();
}

HeaderFields With(HeaderFields fields, const std::string& name, const std::string& value) {
  for (auto& [known, old] : fields) {
    if (known == name) {
      old = value;
      return fields;
    }
  }
  fields.emplace_back(name, value);
  return fields;
}

const HeaderFields kUnary = GrpcRequestFields("/test.Echo/Unary");

TEST_CASE("requests that are not gRPC get an HTTP status and a gRPC one") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  auto answer = Ask(&peer, 1, With(kUnary, "content-type", "application/json"));
  REQUIRE(answer[":status"] == "415");
  REQUIRE(answer["grpc-status"] == "3");
  REQUIRE_THAT(answer["grpc-message"], Contains("application/json"));
  answer = Ask(&peer, 3, With(kUnary, ":method", "GET"));
  REQUIRE(answer[":status"] == "405");
  answer = Ask(&peer, 5, With(kUnary, "content-type", "application/grpcx"));
  REQUIRE(answer[":status"] == "415");
  // Suffixes and parameters are gRPC; without a message the call is refused further on.
  for (const char* type : {"application/grpc+proto", "application/grpc;v=1"}) {
    static uint32_t stream = 7;
    answer = Ask(&peer, stream, With(kUnary, "content-type", type));
    REQUIRE(answer[":status"] == "200");
    REQUIRE(answer["content-type"] == "application/grpc");
    REQUIRE(answer["grpc-status"] == "2");
    stream += 2;
  }
}

TEST_CASE("an :authority with a scheme, as etcdctl 3.4 sends for an endpoint URL, is served") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendFrame(kHeaders, kEndHeaders, 1,
                 EncodeHeaders(With(kUnary, ":authority", "http://127.0.0.1:2379")));
  peer.SendFrame(kData, kEndStream, 1, GrpcMessage("served"));
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("served"));
}

TEST_CASE("a unary answer is HEADERS, DATA and trailers") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Unary", "hello");
  auto head = peer.ReadHeaders();
  REQUIRE(head[":status"] == "200");
  REQUIRE(head.count("grpc-status") == 0);
  const auto data = peer.ReadFrame();
  REQUIRE(data->type == kData);
  REQUIRE((data->flags & kEndStream) == 0);
  REQUIRE(data->payload == GrpcMessage("hello"));
  const auto last = peer.ReadFrame();
  REQUIRE(last->type == kHeaders);
  REQUIRE((last->flags & kEndStream) != 0);
  auto trailers = peer.Decode(*last);
  REQUIRE(trailers["grpc-status"] == "0");
  REQUIRE(trailers.count("grpc-message") == 0);
}

TEST_CASE("an error is one HEADERS frame with its text percent-encoded") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Fail", "5 50% \xc3\xa4\n");
  const auto frame = peer.ReadFrameOf(kHeaders);
  REQUIRE((frame.flags & kEndStream) != 0);
  auto fields = peer.Decode(frame);
  REQUIRE(fields["grpc-status"] == "5");
  REQUIRE(fields["grpc-message"] == "50%25 %C3%A4%0A");
}

TEST_CASE("a compressed request is answered compressed") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  const std::string text(5000, 'z');
  const Bytes packed = GzipCompress({Bytes::Copy(text)});
  std::string message = GrpcMessage(packed.view());
  message[0] = 1;
  peer.SendFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(With(kUnary, "grpc-encoding", "gzip")));
  peer.SendFrame(kData, kEndStream, 1, message);
  REQUIRE(peer.ReadHeaders()["grpc-encoding"] == "gzip");
  const auto data = peer.ReadFrameOf(kData);
  REQUIRE(data.payload[0] == 1);
  REQUIRE(data.payload.size() < 200);
  bool too_large = false;
  const auto plain = GzipDecompress(std::string_view(data.payload).substr(5), 10'000, &too_large);
  REQUIRE(plain.has_value());
  REQUIRE(plain->view() == text);
}

TEST_CASE("encodings that are not gzip are refused with the ones that are known") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  auto answer = Ask(&peer, 1, With(kUnary, "grpc-encoding", "snappy"));
  REQUIRE(answer["grpc-status"] == "12");
  REQUIRE(answer["grpc-accept-encoding"] == "gzip");
  REQUIRE_THAT(answer["grpc-message"], Contains("snappy"));
  // Compressed without saying how, damaged, and a bomb.
  const auto send = [&](uint32_t stream, const HeaderFields& fields, std::string message) {
    message[0] = 1;
    peer.SendFrame(kHeaders, kEndHeaders, stream, EncodeHeaders(fields));
    for (size_t at = 0; at < message.size(); at += 16'000) {
      const std::string_view part = std::string_view(message).substr(at, 16'000);
      peer.SendFrame(kData, at + part.size() == message.size() ? kEndStream : kNoFlags, stream,
                     part);
    }
    return peer.ReadHeaders();
  };
  REQUIRE(send(3, kUnary, GrpcMessage("xyz"))["grpc-status"] == "13");
  const HeaderFields gzip = With(kUnary, "grpc-encoding", "gzip");
  REQUIRE(send(5, gzip, GrpcMessage("not gzip"))["grpc-status"] == "13");
  const Bytes bomb = GzipCompress({Bytes::FromString(std::string(30'000'000, '\0'))});
  REQUIRE(send(7, gzip, GrpcMessage(bomb.view()))["grpc-status"] == "8");
}

TEST_CASE("calls that break the rules of their kind end with an error") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  auto malformed_timeout = Ask(&peer, 1, With(kUnary, "grpc-timeout", "soon"));
  REQUIRE(malformed_timeout["grpc-status"] == "13");
  REQUIRE(Ask(&peer, 3, kUnary)["grpc-status"] == "2");  // no message
  // The end in the middle of a message.
  peer.SendFrame(kHeaders, kEndHeaders, 5, EncodeHeaders(kUnary));
  peer.SendFrame(kData, kEndStream, 5, GrpcMessage("hello").substr(0, 7));
  REQUIRE(peer.ReadHeaders()["grpc-status"] == "2");
  // A reserved compression flag.
  peer.SendFrame(kHeaders, kEndHeaders, 7, EncodeHeaders(kUnary));
  peer.SendFrame(kData, kEndStream, 7, "\x02" + GrpcMessage("x").substr(1));
  REQUIRE(peer.ReadHeaders()["grpc-status"] == "13");
  // Two messages to a unary method: nobody reads the second.
  peer.SendFrame(kHeaders, kEndHeaders, 9, EncodeHeaders(GrpcRequestFields("/test.Echo/Hold")));
  peer.SendFrame(kData, kEndStream, 9, GrpcMessage("one") + GrpcMessage("two"));
  WaitUntil([&] { return server.service().held() == 1; });
  server.service().Release();
  peer.ReadHeaders();
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("one"));
  REQUIRE(peer.ReadHeaders()["grpc-status"] == "0");
  peer.SendCall(11, "/test.Echo/Unary", "still here");
  peer.ReadHeaders();
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("still here"));
}

TEST_CASE("an answer before the request's end is followed by a reset without error") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(GrpcRequestFields("/test.Echo/Nope")));
  const auto head = peer.ReadFrameOf(kHeaders);
  REQUIRE((head.flags & kEndStream) != 0);
  REQUIRE(peer.Decode(head)["grpc-status"] == "12");
  const auto reset = peer.ReadFrame();
  REQUIRE(reset->type == kRstStream);
  REQUIRE(reset->Word(0) == NGHTTP2_NO_ERROR);
}

TEST_CASE("a header list above the limit is refused on its stream") {
  ServerOptions options;
  options.header_list_bytes_max = 4096;
  TestServer server("native", options);
  RawPeer peer(server.port());
  peer.StartHttp2();
  auto answer = Ask(&peer, 1, With(kUnary, "big", std::string(5000, 'x')));
  REQUIRE(answer["grpc-status"] == "8");
  REQUIRE_THAT(answer["grpc-message"], Contains("4096"));
  REQUIRE(Ask(&peer, 3, With(kUnary, "small", "x"))["grpc-status"] == "2");
}

TEST_CASE("streams above the limit are refused, the others served") {
  ServerOptions options;
  options.max_concurrent_streams = 3;
  TestServer server("native", options);
  RawPeer peer(server.port());
  // The limit is not acknowledged yet: what is above it is refused, no more.
  peer.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  peer.SendFrame(kSettings, kNoFlags, 0, "");
  const auto settings = peer.ReadFrameOf(kSettings);
  REQUIRE_THAT(settings.payload, Contains(std::string("\x00\x03\x00\x00\x00\x03", 6)));
  for (uint32_t stream = 1; stream <= 9; stream += 2) {
    peer.SendCall(stream, "/test.Echo/Hold", "x");
  }
  for (int i = 0; i < 2; ++i) {
    const auto reset = peer.ReadFrameOf(kRstStream);
    REQUIRE(reset.stream >= 7);
    REQUIRE(reset.Word(0) == NGHTTP2_REFUSED_STREAM);
  }
  WaitUntil([&] { return server.service().held() == 3; });
  server.service().Release();
  REQUIRE(peer.ReadHeaders()[":status"] == "200");
  // After that it is a breach of the protocol.
  RawPeer rude(server.port());
  rude.StartHttp2();
  for (uint32_t stream = 1; stream <= 9; stream += 2) {
    rude.SendCall(stream, "/test.Echo/Hold", "x");
  }
  const auto goaway = rude.ReadFrameOf(kGoaway);
  REQUIRE(goaway.Word(4) == NGHTTP2_PROTOCOL_ERROR);
  // Our own client waits for its turn instead.
  TestClient client(server.port());
  const auto results = client.CallMany("/test.Echo/Later", std::vector<std::string>(50, "x"));
  for (const CallResult& result : results) REQUIRE(result.response == "x");
}

TEST_CASE("answers wait for the windows, trailers and errors do not") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  // 65,535 bytes may come at first.
  peer.SendCall(1, "/test.Echo/Unary", std::string(70'000 - 5, 'x').substr(0, 16'000));
  peer.SendFrame(kSettings, kNoFlags, 0, std::string("\x00\x04\x00\x00\x00\x0a", 6));
  peer.SendCall(3, "/test.Echo/Unary", "0123456789");
  peer.SendCall(5, "/test.Echo/Fail", "9 no window needed");
  size_t of_three = 0;
  bool error_seen = false;
  while (!error_seen || of_three < 10) {
    const auto frame = peer.ReadFrame();
    REQUIRE(frame.has_value());
    if (frame->type == kData && frame->stream == 3) of_three += frame->payload.size();
    if (frame->type == kHeaders) {
      auto fields = peer.Decode(*frame);
      if (frame->stream == 5) error_seen = fields["grpc-status"] == "9";
      REQUIRE_FALSE((frame->stream == 3 && (frame->flags & kEndStream) != 0));
    }
  }
  REQUIRE(of_three == 10);
  peer.SendFrame(kWindowUpdate, kNoFlags, 3, BigEndian32(100));
  while (true) {
    const auto frame = peer.ReadFrame();
    REQUIRE(frame.has_value());
    if (frame->type == kData) of_three += frame->payload.size();
    if (frame->type != kHeaders) continue;
    peer.Decode(*frame);
    if (frame->stream == 3) break;
  }
  REQUIRE(of_three == 15);
}

TEST_CASE("a large answer does not hold up the other streams of its connection") {
  constexpr size_t kAnswerBytes = 128 << 20;
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  // Windows that hold nothing up: only turns between the streams can.
  peer.SendFrame(kSettings, kNoFlags, 0, std::string("\x00\x04\x7f\xff\xff\xff", 6));
  peer.SendFrame(kWindowUpdate, kNoFlags, 0, BigEndian32(0x7fff0000));
  const auto next_data = [&peer] {
    while (true) {
      auto frame = peer.ReadFrame();
      REQUIRE(frame.has_value());
      if (frame->type == kHeaders) peer.Decode(*frame);
      if (frame->type == kData) return *std::move(frame);
    }
  };
  peer.SendFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(GrpcRequestFields("/test.Echo/Bidi")));
  peer.SendFrame(kData, kNoFlags, 1, GrpcMessage("created"));
  REQUIRE(next_data().stream == 1);
  peer.SendCall(3, "/test.Echo/BigNow", std::to_string(kAnswerBytes));
  REQUIRE(next_data().stream == 3);
  peer.SendFrame(kData, kNoFlags, 1, GrpcMessage("event"));
  peer.SendCall(5, "/test.Echo/Unary", "a small answer");
  size_t before_event = 0;
  bool event = false;
  bool small_answer = false;
  while (!event || !small_answer) {
    const Frame frame = next_data();
    if (frame.stream == 3) before_event += frame.payload.size();
    event = event || frame.stream == 1;
    small_answer = small_answer || frame.stream == 5;
    REQUIRE(before_event <= kAnswerBytes / 2);  // what lies in sockets is far less
  }
}

TEST_CASE("a finished stream needs no window for its trailers") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendFrame(kSettings, kNoFlags, 0, std::string("\x00\x04\x00\x00\x00\x0a", 6));
  peer.SendFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(GrpcRequestFields("/test.Echo/Bidi")));
  peer.SendFrame(kData, kNoFlags, 1, GrpcMessage("01234"));
  peer.ReadHeaders();
  REQUIRE(peer.ReadFrameOf(kData).payload.size() == 10);  // the window is used up to the byte
  peer.SendFrame(kData, kEndStream, 1, "");
  REQUIRE(peer.ReadHeaders()["grpc-status"] == "0");
}

TEST_CASE("pings closer than allowed end the connection at the third") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Hold", "x");
  WaitUntil([&] { return server.service().held() == 1; });
  for (int i = 0; i < 4; ++i) peer.SendFrame(kPing, kNoFlags, 0, "12345678");
  const auto goaway = peer.ReadFrameOf(kGoaway);
  REQUIRE(goaway.Word(4) == NGHTTP2_ENHANCE_YOUR_CALM);
  REQUIRE(goaway.payload.substr(8) == "too_many_pings");
  REQUIRE(peer.ReadToEnd().empty());
  WaitUntil([&] { return server.service().cancelled_held() == 1; });
}

TEST_CASE("pings at the allowed pace are answered for ever") {
  ServerOptions options;
  options.keepalive_min_time_ns = 1;
  TestServer server("native", options);
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Hold", "x");
  WaitUntil([&] { return server.service().held() == 1; });
  for (int i = 0; i < 50; ++i) {
    peer.SendFrame(kPing, kNoFlags, 0, "12345678");
    const auto answer = peer.ReadFrameOf(kPing);
    REQUIRE(answer.flags == kAck);
    REQUIRE(answer.payload == "12345678");
  }
}

TEST_CASE("the server pings a silent client and closes when no answer comes") {
  // Time passes only here, so a slow machine is not taken for a silent client.
  ManualClock clock;
  ServerOptions options;
  options.clock = &clock;
  options.keepalive_interval_ns = 10 * kNanosPerMilli;
  options.keepalive_timeout_ns = 30 * kNanosPerMilli;
  TestServer server("native", options);
  RawPeer peer(server.port());
  peer.StartHttp2();
  uint32_t stream = 1;
  const auto heard_of = [&] {
    peer.SendCall(stream, "/test.Echo/Unary", "x");
    while (peer.ReadHeaders().count("grpc-status") == 0) {
    }
    stream += 2;
  };
  heard_of();
  for (int i = 0; i < 3; ++i) {
    clock.AdvanceNs(options.keepalive_timeout_ns);
    const auto ping = peer.ReadFrameOf(kPing);
    REQUIRE(ping.flags == kNoFlags);
    peer.SendFrame(kPing, kAck, 0, ping.payload);
    heard_of();  // and the acknowledgement before it
  }
  clock.AdvanceNs(options.keepalive_timeout_ns);
  peer.ReadFrameOf(kPing);
  clock.AdvanceNs(options.keepalive_timeout_ns);
  REQUIRE_FALSE(peer.ReadFrame().has_value());
  WaitUntil([&] { return server.transport().stats().connections == 0; });
}

TEST_CASE("a drain says GOAWAY twice and serves what came before the second") {
  TestServer server;
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Hold", "first");
  WaitUntil([&] { return server.service().held() == 1; });
  std::jthread drainer(
      [&] { server.transport().Drain(server.clock().MonotonicNs() + 60 * kNanosPerSecond); });
  const auto notice = peer.ReadFrameOf(kGoaway);
  REQUIRE(notice.Word(0) == 0x7fffffff);
  REQUIRE(notice.Word(4) == NGHTTP2_NO_ERROR);
  const auto ping = peer.ReadFrameOf(kPing);
  // This one was sent before the client could know.
  peer.SendCall(3, "/test.Echo/Hold", "second");
  peer.SendFrame(kPing, kAck, 0, ping.payload);
  const auto last = peer.ReadFrameOf(kGoaway);
  REQUIRE(last.Word(0) == 3);
  peer.SendCall(5, "/test.Echo/Hold", "too late");
  REQUIRE(server.service().Release() == 2);
  int heads = 0;
  int ends = 0;
  for (int i = 0; i < 4; ++i) {
    auto fields = peer.ReadHeaders();
    heads += fields[":status"] == "200" ? 1 : 0;
    ends += fields["grpc-status"] == "0" ? 1 : 0;
  }
  REQUIRE(heads == 2);
  REQUIRE(ends == 2);
  REQUIRE_FALSE(peer.ReadFrame().has_value());
  peer.Shutdown();
  drainer.join();
}

TEST_CASE("connections above the limit wait until one goes") {
  ServerOptions options;
  options.connections_max = 2;
  TestServer server("native", options);
  auto first = std::make_unique<TestClient>(server.port());
  TestClient second(server.port());
  REQUIRE(first->Call("/test.Echo/Unary", "1").response == "1");
  REQUIRE(second.Call("/test.Echo/Unary", "2").response == "2");
  TestClient third(server.port());
  std::vector<CallResult> results;
  std::jthread caller([&] { results = third.CallMany("/test.Echo/Unary", {"3"}); });
  REQUIRE(second.Call("/test.Echo/Unary", "2").response == "2");
  REQUIRE(server.transport().stats().connections == 2);
  first.reset();
  caller.join();
  REQUIRE(results[0].response == "3");
}

TEST_CASE("timeouts, percent codes and base64 survive the way there and back") {
  for (const int64_t ns : {int64_t{1}, int64_t{99'999'999}, int64_t{100'000'000},
                           7 * kNanosPerSecond, 7200 * kNanosPerSecond, INT64_MAX}) {
    const auto parsed = ParseGrpcTimeoutNs(FormatGrpcTimeout(ns));
    REQUIRE(parsed.ok());
    REQUIRE(*parsed >= ns);
    REQUIRE(*parsed / 2 < ns);
  }
  REQUIRE(*ParseGrpcTimeoutNs("5S") == 5 * kNanosPerSecond);
  for (const char* bad : {"", "5", "S", "123456789S", "-1S", "1.5S", "5s"}) {
    REQUIRE_FALSE(ParseGrpcTimeoutNs(bad).ok());
  }
  for (const std::string& text : {std::string(), std::string("a"), std::string("ab\0c", 4)}) {
    REQUIRE(*DecodeBase64(EncodeBase64(text)) == text);
    REQUIRE(PercentDecode(PercentEncode(text)) == text);
  }
  REQUIRE(*DecodeBase64("YQ==") == "a");
  REQUIRE_FALSE(DecodeBase64("a").ok());
  REQUIRE_FALSE(DecodeBase64("a-_b").ok());
  REQUIRE(PercentDecode("%4") == "%4");
  REQUIRE(PercentDecode("%41%zz") == "A%zz");
}

TEST_CASE("endpoints are read, and refused by name") {
  const auto good = ParseEndpoint("http://127.0.0.1:2379/");
  REQUIRE(good.ok());
  REQUIRE(good->scheme == Endpoint::Scheme::kHttp);
  REQUIRE(good->host == "127.0.0.1");
  REQUIRE(good->port == 2379);
  REQUIRE(ParseEndpoint("https://a.example:1")->scheme == Endpoint::Scheme::kHttps);
  REQUIRE(ParseEndpoint("[::1]:2379")->host == "::1");
  REQUIRE(ParseEndpoint("localhost:1")->port == 1);
  for (const char* bad : {"", "host", "host:", ":1", "host:0", "host:65536", "host:1x",
                          "ftp://host:1", "::1:2379", "a/b:1", "http://user@host:1"}) {
    CAPTURE(bad);
    const auto parsed = ParseEndpoint(bad);
    REQUIRE_FALSE(parsed.ok());
    REQUIRE_THAT(std::string(parsed.status().message()), Contains(std::string(bad)));
  }
}

}  // namespace
}  // namespace quorate::transport
