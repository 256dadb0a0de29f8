// Input that no well-behaved client sends, to the native server: it answers or closes, goes on for
// everybody else, and keeps nothing.
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "base/sanitizer.h"
#include "transport/native_loop.h"
#include "transport/raw_peer.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

#if QUORATE_SANITIZED
constexpr bool kMemoryIsOurs = false;  // the sanitizer keeps freed memory and shadows
#else
constexpr bool kMemoryIsOurs = true;
#endif

constexpr std::string_view kPrefaceText = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

size_t ResidentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Runs the rest of the test case over both.
std::string PlainOrTls() { return GENERATE(as<std::string>(), "native", "native+tls"); }

void ExpectServing(TestServer* server) {
  TestClient client(server->port());
  REQUIRE(client.Call("/test.Echo/Later", "alive").response == "alive");
}

// Nothing of the abuse is left.
void ExpectClean(TestServer* server) {
  ExpectServing(server);
  WaitUntil([&] {
    const ServerStats stats = server->transport().stats();
    return stats.connections == 0 && stats.streams == 0 && server->service().open_handlers() == 0 &&
           server->service().open_sources() == 0;
  });
}

uint64_t Seed() {
  const char* given = std::getenv("QUORATE_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20240717;
  UNSCOPED_INFO("QUORATE_SEED=" << seed);
  return seed;
}

std::string RequestHead(uint32_t stream, std::string_view path) {
  return EncodeFrame(kHeaders, kEndHeaders, stream, EncodeHeaders(GrpcRequestFields(path)));
}

std::string Text(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

struct Malformed {
  const char* what;
  std::string bytes;
};

std::vector<Malformed> ConnectionErrors() {
  const std::string head = RequestHead(1, "/test.Echo/Hold");
  const std::string block = EncodeHeaders(GrpcRequestFields("/test.Echo/Hold"));
  return {
      {"a frame above the size limit", Text({0xff, 0xff, 0xff, kData, 0, 0, 0, 0, 1})},
      {"SETTINGS of a broken length", EncodeFrame(kSettings, kNoFlags, 0, "12345")},
      {"SETTINGS on a stream", EncodeFrame(kSettings, kNoFlags, 1, "")},
      {"SETTINGS acknowledgement with a payload", EncodeFrame(kSettings, kAck, 0, "123456")},
      {"an initial window above 2^31-1",
       EncodeFrame(kSettings, kNoFlags, 0, Text({0, 4, 0x80, 0, 0, 0}))},
      {"a maximum frame size below 2^14",
       EncodeFrame(kSettings, kNoFlags, 0, Text({0, 5, 0, 0, 0, 1}))},
      {"push enabled by 2", EncodeFrame(kSettings, kNoFlags, 0, Text({0, 2, 0, 0, 0, 2}))},
      {"a short PING", EncodeFrame(kPing, kNoFlags, 0, "1234567")},
      {"PING on a stream", EncodeFrame(kPing, kNoFlags, 1, "12345678")},
      {"HEADERS on stream 0", EncodeFrame(kHeaders, kEndHeaders, 0, block)},
      {"HEADERS on an even stream", EncodeFrame(kHeaders, kEndHeaders, 2, block)},
      {"DATA on stream 0", EncodeFrame(kData, kNoFlags, 0, "x")},
      {"DATA on an idle stream", EncodeFrame(kData, kNoFlags, 7, "x")},
      {"RST_STREAM on an idle stream", EncodeFrame(kRstStream, kNoFlags, 7, BigEndian32(8))},
      {"RST_STREAM on stream 0", EncodeFrame(kRstStream, kNoFlags, 0, BigEndian32(8))},
      {"a short RST_STREAM", head + EncodeFrame(kRstStream, kNoFlags, 1, "123")},
      {"a short WINDOW_UPDATE", EncodeFrame(kWindowUpdate, kNoFlags, 0, "123")},
      {"WINDOW_UPDATE of 0", EncodeFrame(kWindowUpdate, kNoFlags, 0, BigEndian32(0))},
      {"WINDOW_UPDATE of 0 on a stream",
       head + EncodeFrame(kWindowUpdate, kNoFlags, 1, BigEndian32(0))},
      {"WINDOW_UPDATE on an idle stream", EncodeFrame(kWindowUpdate, kNoFlags, 9, BigEndian32(1))},
      {"an overflow of the connection's window",
       EncodeFrame(kWindowUpdate, kNoFlags, 0, BigEndian32(0x7fffffff))},
      {"CONTINUATION out of the blue", EncodeFrame(kContinuation, kEndHeaders, 1, block)},
      {"another frame inside a header block",
       EncodeFrame(kHeaders, kNoFlags, 1, block) + EncodeFrame(kData, kNoFlags, 1, "x")},
      {"PUSH_PROMISE", head + EncodeFrame(kPushPromise, kEndHeaders, 1, BigEndian32(2) + block)},
      {"padding longer than the frame", head + EncodeFrame(kData, kPadded, 1, Text({200, 1, 2}))},
      {"a header index that does not exist",
       EncodeFrame(kHeaders, kEndHeaders, 1, Text({0xff, 0xff, 0x03}))},
      {"header index 0", EncodeFrame(kHeaders, kEndHeaders, 1, Text({0x80}))},
      {"a header table above the limit",
       EncodeFrame(kHeaders, kEndHeaders, 1, Text({0x3f, 0xff, 0xff, 0x7f}))},
      {"a truncated header", EncodeFrame(kHeaders, kEndHeaders, 1, Text({0x00, 0x05, 'a'}))},
      {"bad Huffman code",
       EncodeFrame(kHeaders, kEndHeaders, 1, Text({0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00}))},
      {"GOAWAY on a stream", EncodeFrame(kGoaway, kNoFlags, 1, std::string(8, '\0'))},
      {"a short GOAWAY", EncodeFrame(kGoaway, kNoFlags, 0, "1234")},
  };
}

TEST_CASE("frames that break the connection are answered by GOAWAY and the end") {
  TestServer server(PlainOrTls());
  for (const Malformed& malformed : ConnectionErrors()) {
    CAPTURE(malformed.what);
    RawPeer peer(server.port());
    peer.StartHttp2();
    peer.Send(malformed.bytes);
    bool goaway = false;
    while (const auto frame = peer.ReadFrame()) {
      if (frame->type == kGoaway) {
        goaway = true;
        REQUIRE(frame->Word(4) != NGHTTP2_NO_ERROR);
      }
    }
    REQUIRE(goaway);
  }
  server.service().Release();
  ExpectClean(&server);
  REQUIRE(server.transport().stats().protocol_errors > 0);
}

TEST_CASE("requests that break a stream are reset and the connection goes on") {
  TestServer server(PlainOrTls());
  const HeaderFields good = GrpcRequestFields("/test.Echo/Unary");
  const auto with = [&](const char* name, const char* value) {
    HeaderFields fields = good;
    fields.emplace_back(name, value);
    return EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(fields));
  };
  HeaderFields no_path = good;
  no_path.erase(no_path.begin() + 2);
  HeaderFields twice = good;
  twice.insert(twice.begin(), twice.front());
  HeaderFields two_lengths = good;
  two_lengths.insert(two_lengths.end(), 2, {"content-length", "9"});
  HeaderFields no_scheme = good;
  no_scheme.erase(no_scheme.begin() + 1);
  const auto changed = [&](size_t field, const char* value) {
    HeaderFields fields = good;
    fields[field].second = value;
    return EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(fields));
  };
  const std::string head = RequestHead(1, "/test.Echo/Hold");
  const std::vector<Malformed> cases = {
      {"a header name in capitals", with("Token", "x")},
      {"a hop-by-hop header", with("connection", "close")},
      {"a pseudo header behind the others", with(":path", "/x")},
      {"an unknown pseudo header", with(":what", "x")},
      {"no :path", EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(no_path))},
      {"no :scheme", EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(no_scheme))},
      {"a method that is no token", changed(0, "PO ST")},
      {"a scheme that is none", changed(1, "1http")},
      {"a path without a slash", changed(2, "test.Echo/Unary")},
      {"a path with a blank", changed(2, "/test.Echo/Un ary")},
      {"te with something else than trailers", with("te", "gzip")},
      {"a pseudo header twice", EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(twice))},
      {"a line end in a value", with("token", "a\r\nb")},
      {"two content-lengths", EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders(two_lengths))},
      {"a content-length that is no number", with("content-length", "-3")},
      {"trailers with a pseudo header",
       head + EncodeFrame(kHeaders, kEndHeaders | kEndStream, 1, EncodeHeaders({{":path", "/"}}))},
      {"headers in the middle of a body",
       head + EncodeFrame(kHeaders, kEndHeaders, 1, EncodeHeaders({{"more", "x"}}))},
      {"less body than content-length says",
       with("content-length", "300") + EncodeFrame(kData, kEndStream, 1, GrpcMessage("short"))},
      {"an overflow of the stream's window",
       head + EncodeFrame(kWindowUpdate, kNoFlags, 1, BigEndian32(0x7fffffff))},
      {"more body than content-length says",
       with("content-length", "3") + EncodeFrame(kData, kNoFlags, 1, GrpcMessage("long"))},
  };
  for (const Malformed& malformed : cases) {
    CAPTURE(malformed.what);
    RawPeer peer(server.port());
    peer.StartHttp2();
    peer.Send(malformed.bytes);
    const Frame reset = peer.ReadFrameOf(kRstStream);
    REQUIRE(reset.stream == 1);
    REQUIRE(reset.Word(0) != NGHTTP2_NO_ERROR);
    peer.SendCall(3, "/test.Echo/Unary", "next");
    REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("next"));
  }
  server.service().Release();
  ExpectClean(&server);
}

TEST_CASE("frames, flags and settings of the future, and streams of the past, are ignored") {
  TestServer server(PlainOrTls());
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendFrame(0x42, 0xff, 0, "whatever");
  peer.SendFrame(kSettings, kNoFlags, 0, Text({0xfe, 0xfe, 1, 2, 3, 4}));
  peer.SendFrame(kPriority, kNoFlags, 1, Text({0, 0, 0, 0, 200}));
  peer.SendCall(5, "/test.Echo/Unary", "x");
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("x"));
  // It may be a late frame of a stream that we have reset.
  peer.SendCall(3, "/test.Echo/Unary", "late");
  peer.SendCall(7, "/test.Echo/Unary", "y");
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("y"));
}

TEST_CASE("endless header blocks are cut off") {
  TestServer server(PlainOrTls());
  const std::string block = EncodeHeaders(GrpcRequestFields("/test.Echo/Unary"));
  SECTION("of empty CONTINUATION frames") {
    RawPeer peer(server.port());
    peer.StartHttp2();
    peer.SendFrame(kHeaders, kNoFlags, 1, block);
    const std::string empty = EncodeFrame(kContinuation, kNoFlags, 1, "");
    for (int i = 0; i < 100'000 && peer.Send(empty); ++i) {
    }
    while (peer.ReadFrame().has_value()) {
    }
  }
  SECTION("of large fields") {
    RawPeer peer(server.port());
    peer.StartHttp2();
    peer.SendFrame(kHeaders, kNoFlags, 1, block);
    const std::string large =
        EncodeFrame(kContinuation, kNoFlags, 1, EncodeHeaders({{"x", std::string(16'000, 'x')}}));
    for (int i = 0; i < 1000 && peer.Send(large); ++i) {
    }
    while (peer.ReadFrame().has_value()) {
    }
  }
  ExpectClean(&server);
}

TEST_CASE("a conversation may be cut at any byte") {
  TestServer server(PlainOrTls());
  std::string conversation(kPrefaceText);
  conversation += EncodeFrame(kSettings, kNoFlags, 0, Text({0, 4, 0, 1, 0, 0}));
  conversation += RequestHead(1, "/test.Echo/Unary");
  conversation += EncodeFrame(kData, kEndStream, 1, GrpcMessage("hello"));
  conversation += RequestHead(3, "/test.Echo/Bidi");
  conversation += EncodeFrame(kData, kNoFlags, 3, GrpcMessage("hello"));
  conversation += EncodeFrame(kWindowUpdate, kNoFlags, 0, BigEndian32(1000));
  conversation += EncodeFrame(kRstStream, kNoFlags, 3, BigEndian32(8));
  for (size_t size = 0; size <= conversation.size(); ++size) {
    RawPeer peer(server.port());
    peer.Send(std::string_view(conversation).substr(0, size));
    if (size % 2 == 0) {
      peer.Reset();
    } else {
      peer.Shutdown();
      peer.ReadToEnd();
    }
  }
  ExpectClean(&server);
}

TEST_CASE("random bytes are answered or closed") {
  TestServer server(PlainOrTls());
  Random random(Seed());
  for (int i = 0; i < 200; ++i) {
    RawPeer peer(server.port());
    std::string bytes = i % 3 == 0 ? std::string(kPrefaceText) : std::string();
    if (i % 3 == 1) bytes = "GET ";
    const uint64_t size = 1 + random.Below(4000);
    for (uint64_t b = 0; b < size; ++b) bytes.push_back(static_cast<char>(random.Below(256)));
    peer.Send(bytes);
    peer.Shutdown();
    peer.ReadToEnd();
  }
  ExpectClean(&server);
}

TEST_CASE("random frames are answered or closed") {
  TestServer server(PlainOrTls());
  Random random(Seed());
  const std::string block = EncodeHeaders(GrpcRequestFields("/test.Echo/Bidi"));
  for (int i = 0; i < 200; ++i) {
    RawPeer peer(server.port());
    peer.StartHttp2();
    std::string bytes;
    uint32_t next_stream = 1;
    for (int f = 0; f < 40; ++f) {
      const auto flags = static_cast<uint8_t>(random.Below(64));
      const auto stream = static_cast<uint32_t>(random.Below(next_stream + 2));
      if (random.OneIn(3)) {
        bytes += EncodeFrame(kHeaders, kEndHeaders | (flags & kEndStream), next_stream, block);
        next_stream += 2;
      } else if (random.OneIn(3)) {
        bytes += EncodeFrame(kData, flags & kEndStream, next_stream > 2 ? next_stream - 2 : 1,
                             GrpcMessage("message"));
      } else {
        std::string payload(random.Below(20), '\0');
        for (char& c : payload) c = static_cast<char>(random.Below(256));
        bytes += EncodeFrame(static_cast<uint8_t>(random.Below(11)), flags, stream, payload);
      }
    }
    peer.Send(bytes);
    peer.Shutdown();
    peer.ReadToEnd();
  }
  ExpectClean(&server);
}

TEST_CASE("thousands of cancelled calls are fine, tens of thousands at once are not") {
  TestServer server(PlainOrTls());
  RawPeer peer(server.port());
  peer.StartHttp2();
  uint32_t stream = 1;
  const auto cancel_calls = [&](int count) {
    std::string bytes;
    for (int i = 0; i < count; ++i, stream += 2) {
      bytes += RequestHead(stream, "/test.Echo/Bidi");
      bytes += EncodeFrame(kRstStream, kNoFlags, stream, BigEndian32(NGHTTP2_CANCEL));
    }
    return peer.Send(bytes);
  };
  for (int i = 0; i < 30; ++i) REQUIRE(cancel_calls(100));
  peer.SendCall(stream, "/test.Echo/Unary", "x");
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("x"));
  stream += 2;
  for (int i = 0; i < 300 && cancel_calls(100); ++i) {
  }
  while (peer.ReadFrame().has_value()) {
  }
  WaitUntil([&] { return server.service().open_handlers() == 0; });
  REQUIRE(server.service().closed_handlers() < 33'000);
  ExpectClean(&server);
}

TEST_CASE("connections reset in the middle of their streams leave nothing") {
  TestServer server(PlainOrTls());
  for (int i = 0; i < 200; ++i) {
    RawPeer peer(server.port());
    peer.StartHttp2();
    std::string bytes;
    for (uint32_t stream = 1; stream < 40; stream += 2) {
      bytes += RequestHead(stream, stream % 4 == 1 ? "/test.Echo/Bidi" : "/test.Echo/Later");
      bytes += EncodeFrame(kData, stream % 4 == 1 ? kNoFlags : kEndStream, stream,
                           GrpcMessage("message"));
    }
    peer.Send(bytes);
    if (i % 2 == 0) peer.ReadSome();
    peer.Reset();
  }
  ExpectClean(&server);
}

TEST_CASE("floods of pings and settings end the connection") {
  TestServer server(PlainOrTls());
  for (const std::string& frame :
       {EncodeFrame(kPing, kNoFlags, 0, "12345678"), EncodeFrame(kSettings, kNoFlags, 0, "")}) {
    RawPeer peer(server.port());
    peer.StartHttp2();
    std::string burst;
    for (int i = 0; i < 1000; ++i) burst += frame;
    // Nothing is read meanwhile: the acknowledgements pile up on the other side.
    while (peer.Send(burst)) {
    }
  }
  ExpectClean(&server);
}

TEST_CASE("clients that never read hold a bounded amount") {
  TestServer server(PlainOrTls());
  ExpectServing(&server);
  const size_t before = ResidentBytes();
  constexpr int kClients = 10;
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < kClients; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server.port()));
    RawPeer& peer = *peers.back();
    peer.StartHttp2();
    // All the window there is, so that only the socket stops the server.
    peer.SendFrame(kSettings, kNoFlags, 0, Text({0, 4, 0x7f, 0xff, 0xff, 0xff}));
    peer.SendFrame(kWindowUpdate, kNoFlags, 0, BigEndian32(0x7fffffff - 65'535));
    for (uint32_t stream = 1; stream < 9; stream += 2) {
      peer.SendCall(stream, stream % 4 == 1 ? "/test.Echo/Big" : "/test.Echo/BigNow", "500000000");
    }
    peer.SendFrame(kHeaders, kEndHeaders, 9, EncodeHeaders(GrpcRequestFields("/test.Echo/Flood")));
    peer.SendFrame(kData, kNoFlags, 9, GrpcMessage("10000 100000"));
  }
  // The server is done with them when its counter of bytes stands still over many other calls.
  uint64_t sent = 0;
  WaitUntil([&] {
    for (int i = 0; i < 20; ++i) ExpectServing(&server);
    const uint64_t now = server.transport().stats().bytes_sent;
    return now - std::exchange(sent, now) < 100'000;
  });
  const size_t held = ResidentBytes() - std::min(before, ResidentBytes());
  if (kMemoryIsOurs) REQUIRE(held < kClients * (5u << 20));
  peers.clear();
  ExpectClean(&server);
}

TEST_CASE("a turn that has lasted begins one step of a handshake, the next turn another") {
  ManualClock clock;
  ServerOptions options;
  options.clock = &clock;
  const ServiceTable services;
  const HttpHandler http = nullptr;
  NativeLoop loop(&options, &services, &http);
  std::vector<bool> taken;
  std::promise<void> done;
  loop.loop()->Post([&] {
    taken.push_back(loop.TakeHandshakeStep());
    taken.push_back(loop.TakeHandshakeStep());
    clock.AdvanceNs(10 * kNanosPerMilli);
    taken.push_back(loop.TakeHandshakeStep());
    loop.loop()->AtEndOfTurn([&] {
      clock.AdvanceNs(10 * kNanosPerMilli);
      taken.push_back(loop.TakeHandshakeStep());
      taken.push_back(loop.TakeHandshakeStep());
      done.set_value();
    });
  });
  loop.Start("test");
  done.get_future().wait();
  REQUIRE(taken == std::vector<bool>{true, true, false, true, false});
}

TEST_CASE("silent connections by the hundred are closed") {
  ManualClock clock;
  ServerOptions options;
  options.clock = &clock;
  options.preface_timeout_ns = 50 * kNanosPerMilli;
  TestServer server("native", options);
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 300; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server.port()));
    if (i % 3 == 0) peers.back()->Send("PRI");
  }
  WaitUntil([&] { return server.transport().stats().connections == peers.size(); });
  clock.AdvanceNs(options.preface_timeout_ns);
  for (auto& peer : peers) REQUIRE(peer->ReadToEnd().empty());
  ExpectClean(&server);
}

TEST_CASE("without descriptors the server waits, and serves when there are some again") {
  TestServer server;
  ExpectServing(&server);
  // The undefined-behaviour sanitizer opens a pipe when it meets a type for the first time; what
  // logs must be known to it before there are no descriptors for one.
  LogInfo("the descriptors are taken away");
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  RawPeer peer(server.port());
  peer.StartHttp2();
  peer.SendCall(1, "/test.Echo/Unary", "before");
  REQUIRE(peer.ReadFrameOf(kData).payload == GrpcMessage("before"));
  // The next descriptor is the last: connecting takes it, accepting finds none.
  const int next = dup(peer.fd());
  close(next);
  rlimit tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(next) + 1;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  RawPeer waiting(server.port());
  waiting.StartHttp2();
  waiting.SendCall(1, "/test.Echo/Unary", "after");
  // Who is inside is still served.
  peer.SendCall(3, "/test.Echo/Unary", "meanwhile");
  const bool inside_served = peer.ReadFrameOf(kData).payload == GrpcMessage("meanwhile");
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  REQUIRE(inside_served);
  REQUIRE(waiting.ReadFrameOf(kData).payload == GrpcMessage("after"));
}

}  // namespace
}  // namespace quorate::transport
