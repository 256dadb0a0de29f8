// One suite for every server transport of the registry.
#include <catch2/catch.hpp>
#include <future>
#include <string>
#include <vector>

#include "base/sanitizer.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

// Runs the rest of the test case once per transport.
std::string EachTransport() {
  std::vector<std::string> names;
  for (const ServerTransportRow& row : ServerTransportRegistry()) {
#if QUORATE_THREAD_SANITIZER
    // Debian's libgrpc is not built for the thread sanitizer, which then sees none of its locks.
    if (row.name == "grpc") continue;
#endif
    names.emplace_back(row.name);
  }
  names.emplace_back("native+tls");
  return GENERATE_COPY(from_range(names));
}

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = PatternAt(i);
  return bytes;
}

TEST_CASE("unary calls are answered, at once or from another thread") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (const char* path : {"/test.Echo/Unary", "/test.Echo/Later"}) {
    for (const size_t size : {0, 1, 300, 16'384, 70'000, 1'500'000}) {
      const std::string request(size, 'x');
      const CallResult result = client.Call(path, request);
      REQUIRE(result.status.message == "");
      REQUIRE(result.status.ok());
      REQUIRE(result.response == request);
    }
  }
}

TEST_CASE("many calls share a connection") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  std::vector<std::string> requests;
  for (int i = 0; i < 3000; ++i) requests.push_back("request " + std::to_string(i));
  const auto results = client.CallMany("/test.Echo/Later", requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    REQUIRE(results[i].status.ok());
    REQUIRE(results[i].response == requests[i]);
  }
  REQUIRE(server.transport().stats().connections_total <= 1);
}

TEST_CASE("several network threads serve many connections") {
  ServerOptions options;
  options.io_threads = 3;
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport, options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(std::make_unique<TestClient>(server.port()));
  for (int round = 0; round < 20; ++round) {
    for (auto& client : clients) {
      REQUIRE(client->Call("/test.Echo/Later", "hello").response == "hello");
    }
  }
}

TEST_CASE("every status code and any text come through") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (int code = 1; code <= 16; ++code) {
    const std::string text = "etcdserver: text of " + std::to_string(code);
    const CallResult result = client.Call("/test.Echo/Fail", std::to_string(code) + " " + text);
    REQUIRE(static_cast<int>(result.status.code) == code);
    REQUIRE(result.status.message == text);
  }
  const std::string odd = "100% \xc3\xa4\xe2\x82\xac\nsecond line\ttab \"quoted\" %41";
  REQUIRE(client.Call("/test.Echo/Fail", "5 " + odd).status.message == odd);
}

TEST_CASE("what the table does not know is unimplemented") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  const CallResult method = client.Call("/test.Echo/Nothing", "x");
  REQUIRE(method.status.code == RpcCode::kUnimplemented);
  REQUIRE(method.status.message == "unknown method Nothing for service test.Echo");
  const CallResult service = client.Call("/nobody.Here/Unary", "x");
  REQUIRE(service.status.code == RpcCode::kUnimplemented);
  REQUIRE(service.status.message == "unknown service nobody.Here");
  REQUIRE(client.Call("/test.Echo/Unary", "x").response == "x");
}

TEST_CASE("metadata is found by name, binary values are decoded") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  const std::string binary("\0\x01\xff\r\nend", 8);
  const MetadataList metadata = {
      {"token", "abc.17"}, {"hasleader", "true"}, {"trace-bin", binary}, {"token", "second"}};
  const auto ask = [&](const char* name) {
    return client.Call("/test.Echo/Metadata", name, 0, metadata).response;
  };
  REQUIRE(ask("token") == "abc.17");
  REQUIRE(ask("hasleader") == "true");
  REQUIRE(ask("trace-bin") == binary);
  REQUIRE(ask("absent") == "<none>");
  REQUIRE(ask("tok") == "<none>");
}

TEST_CASE("a request above the limit is refused, the connection goes on") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    const CallResult result = client.Call("/test.Echo/Unary", std::string(2'097'153, 'x'));
    REQUIRE(result.status.code == RpcCode::kResourceExhausted);
    REQUIRE_THAT(result.status.message,
                 Catch::Contains("message larger than max (2097153 vs. 2097152)"));
  }
  const std::string largest(2'097'152, 'y');
  REQUIRE(client.Call("/test.Echo/Later", largest).response == largest);
  REQUIRE(server.transport().stats().connections_total <= 1);
}

TEST_CASE("a deadline ends the call at both ends") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  // Long enough for the call to get there on a busy machine. As metadata the server alone knows of
  // it.
  const CallResult by_server = client.Call("/test.Echo/Hold", "x", 0, {{"grpc-timeout", "250m"}});
  REQUIRE(by_server.status.code == RpcCode::kDeadlineExceeded);
  const CallResult by_client = client.Call("/test.Echo/Hold", "x", 250 * kNanosPerMilli);
  REQUIRE(by_client.status.code == RpcCode::kDeadlineExceeded);
  if (transport == "native") {
    REQUIRE(by_server.status.message == "context deadline exceeded");
    REQUIRE(by_client.status.message == "context deadline exceeded");
  }
  WaitUntil([&] { return server.service().cancelled_held() == 2; });
  REQUIRE(server.service().Release() == 2);  // answering too late does nothing
  REQUIRE(client.Call("/test.Echo/Unary", "y", 60 * kNanosPerSecond).response == "y");
}

TEST_CASE("server streams deliver all messages in order") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (const char* request : {"0 0", "1 0", "3 100000", "2000 10", "50 20000"}) {
    auto stream = client.Open("/test.Echo/Many");
    stream->Send(request);
    stream->HalfClose();
    const std::string_view text = request;
    const size_t blank = text.find(' ');
    const size_t count = std::stoul(std::string(text.substr(0, blank)));
    const size_t size = std::stoul(std::string(text.substr(blank + 1)));
    const std::string expected = Pattern(size);
    for (size_t i = 0; i < count; ++i) REQUIRE(stream->Next() == expected);
    REQUIRE(stream->Next() == std::nullopt);
    REQUIRE(stream->WaitClosed().ok());
    client.Close(std::move(stream));
  }
}

TEST_CASE("a server stream takes exactly one message") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (const size_t count : {0, 2}) {
    auto stream = client.Open("/test.Echo/Many");
    for (size_t i = 0; i < count; ++i) stream->Send("1 1");
    stream->HalfClose();
    const RpcStatus status = stream->WaitClosed();
    REQUIRE(status.code == RpcCode::kInternal);
    REQUIRE_THAT(status.message, Catch::Contains("cardinality violation"));
    client.Close(std::move(stream));
  }
}

TEST_CASE("bidi streams echo, half-close and end") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  auto stream = client.Open("/test.Echo/Bidi");
  for (int i = 0; i < 100; ++i) {
    const std::string message(static_cast<size_t>(i) * 100, static_cast<char>('a' + i % 26));
    stream->Send(message);
    REQUIRE(stream->Next() == message);
  }
  REQUIRE(server.service().open_handlers() == 1);
  stream->HalfClose();
  REQUIRE(stream->WaitClosed().ok());
  WaitUntil([&] { return server.service().open_handlers() == 0; });
  REQUIRE(server.service().closed_handlers() == 1);
  REQUIRE(server.service().half_closes() == 1);
  client.Close(std::move(stream));
}

TEST_CASE("a cancelled stream is closed on the server without a half-close") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  auto stream = client.Open("/test.Echo/Bidi");
  stream->Send("one");
  REQUIRE(stream->Next() == "one");
  stream->Cancel();
  REQUIRE(stream->WaitClosed().code == RpcCode::kCanceled);
  WaitUntil([&] { return server.service().open_handlers() == 0; });
  REQUIRE(server.service().closed_handlers() == 1);
  REQUIRE(server.service().half_closes() == 0);
  client.Close(std::move(stream));
}

TEST_CASE("a lost connection closes its streams and cancels its calls") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  auto client = std::make_unique<TestClient>(server.port());
  std::vector<std::unique_ptr<TestStream>> streams;
  for (int i = 0; i < 10; ++i) {
    streams.push_back(client->Open("/test.Echo/Bidi"));
    streams.back()->Send("x");
    REQUIRE(streams.back()->Next() == "x");
  }
  client->loop()->Post([&] {
    client->channel()->Call("/test.Echo/Hold", Bytes::Static("h"), 0, {},
                            [](const RpcStatus&, const Bytes&) {});
  });
  WaitUntil([&] { return server.service().held() == 1; });
  for (auto& stream : streams) client->Close(std::move(stream));
  client.reset();
  WaitUntil([&] { return server.service().open_handlers() == 0; });
  WaitUntil([&] { return server.service().cancelled_held() == 1; });
  REQUIRE(server.service().closed_handlers() == 10);
}

TEST_CASE("thousands of streams live on one connection") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  constexpr int kStreams = 3000;
  std::vector<std::unique_ptr<TestStream>> streams;
  for (int i = 0; i < kStreams; ++i) streams.push_back(client.Open("/test.Echo/Bidi"));
  for (int round = 0; round < 2; ++round) {
    for (auto& stream : streams) stream->Send("round");
    for (auto& stream : streams) REQUIRE(stream->Next() == "round");
  }
  REQUIRE(server.service().open_handlers() == kStreams);
  for (auto& stream : streams) stream->HalfClose();
  for (auto& stream : streams) {
    REQUIRE(stream->WaitClosed().ok());
    client.Close(std::move(stream));
  }
  WaitUntil([&] { return server.service().open_handlers() == 0; });
}

TEST_CASE("a message source is pulled to its end, in pieces, and destroyed") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (const char* path : {"/test.Echo/Big", "/test.Echo/BigNow"}) {
    for (const size_t size : {size_t{1}, size_t{65'535}, size_t{20'000'000}}) {
      const CallResult result = client.Call(path, std::to_string(size));
      REQUIRE(result.status.ok());
      REQUIRE(result.response.size() == size);
      REQUIRE(result.response == Pattern(size));
    }
  }
  WaitUntil([&] { return server.service().open_sources() == 0; });
  REQUIRE(server.service().source_bytes_out_max() <= 1 << 20);
}

TEST_CASE("a source that breaks resets its stream and no other") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  const CallResult broken = client.Call("/test.Echo/BigBroken", "1000000");
  REQUIRE_FALSE(broken.status.ok());
  REQUIRE(client.Call("/test.Echo/Unary", "x").response == "x");
  WaitUntil([&] { return server.service().open_sources() == 0; });
}

TEST_CASE("a client that goes in the middle of a source leaves nothing behind") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  for (int i = 0; i < 20; ++i) {
    const CallResult result =
        client.Call("/test.Echo/Big", "100000000", (1 + i % 5) * kNanosPerMilli);
    REQUIRE(result.status.code == RpcCode::kDeadlineExceeded);
  }
  WaitUntil([&] { return server.service().open_sources() == 0; });
  REQUIRE(client.Call("/test.Echo/Unary", "x").response == "x");
}

TEST_CASE("a slow reader holds its own queue at the limit and nobody else") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient slow(server.port(), "127.0.0.1", 65'535);
  TestClient quick(server.port());
  auto stream = slow.Open("/test.Echo/Flood");
  std::mutex gate;
  gate.lock();
  slow.loop()->Post([&] { std::lock_guard wait(gate); });
  stream->Send("200 100000");
  // 20 MB wait behind a client that does not read; others are served meanwhile.
  for (int i = 0; i < 200; ++i) REQUIRE(quick.Call("/test.Echo/Later", "x").response == "x");
  gate.unlock();
  const std::string expected = Pattern(100'000);
  for (int i = 0; i < 200; ++i) REQUIRE(stream->Next() == expected);
  REQUIRE(stream->WaitClosed().ok());
  REQUIRE(server.service().queued_max() <= (1 << 20) + 100'005);
  slow.Close(std::move(stream));
}

TEST_CASE("a paused stream is sent its window and no more, the others on its connection go on") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  constexpr uint32_t kWindow = 1 << 16;
  TestServer server(transport);
  TestClient client(server.port(), "127.0.0.1", kWindow);
  auto stream = client.Open("/test.Echo/Flood");
  stream->Pause();
  stream->Send("100 50000");
  const std::string body(40'000, 'x');
  for (int i = 0; i < 50; ++i) REQUIRE(client.Call("/test.Echo/Unary", body).response == body);
  REQUIRE(stream->bytes() <= kWindow);
  stream->Resume();
  const std::string expected = Pattern(50'000);
  for (int i = 0; i < 100; ++i) REQUIRE(stream->Next() == expected);
  REQUIRE(stream->WaitClosed().ok());
  client.Close(std::move(stream));
}

TEST_CASE("a connection without calls is asked whether it lives, where that is wanted") {
  constexpr uint64_t kPingBytes = 17;
  ServerOptions server_options;
  server_options.keepalive_min_time_ns = 0;
  TestServer server("native", server_options);
  TestClient loop(server.port());
  ChannelOptions options;
  options.host = "127.0.0.1";
  options.port = server.port();
  options.keepalive_time_ns = kNanosPerMilli;
  options.keepalive_timeout_ns = 60 * kNanosPerSecond;
  options.keepalive_without_calls = true;
  std::unique_ptr<Channel> channel;
  std::promise<bool> answered;
  loop.RunOnLoop([&] {
    channel = Channel::Create(loop.loop(), options);
    channel->Call("/test.Echo/Unary", Bytes::Static("x"), 0, {},
                  [&](const RpcStatus& status, const Bytes&) { answered.set_value(status.ok()); });
  });
  REQUIRE(answered.get_future().get());
  const uint64_t before = server.transport().stats().bytes_received;
  WaitUntil([&] { return server.transport().stats().bytes_received >= before + 3 * kPingBytes; });
  loop.RunOnLoop([&] { channel.reset(); });
}

TEST_CASE("a drain lets unary calls finish and ends streams") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  auto stream = client.Open("/test.Echo/Bidi");
  stream->Send("x");
  REQUIRE(stream->Next() == "x");
  std::vector<std::string> requests(20, "held");
  std::vector<CallResult> results;
  std::jthread caller([&] { results = client.CallMany("/test.Echo/Hold", requests); });
  WaitUntil([&] { return server.service().held() == 20; });
  std::jthread drainer(
      [&] { server.transport().Drain(server.clock().MonotonicNs() + 60 * kNanosPerSecond); });
  REQUIRE(stream->WaitClosed().code == RpcCode::kUnavailable);
  REQUIRE(server.service().Release() == 20);
  drainer.join();
  caller.join();
  for (const CallResult& result : results) {
    REQUIRE(result.status.message == "");
    REQUIRE(result.response == "held");
  }
  REQUIRE(server.transport().stats().connections == 0);
  REQUIRE(server.transport().stats().streams == 0);
  client.Close(std::move(stream));
}

TEST_CASE("a drain closes what is still open at its deadline") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer server(transport);
  TestClient client(server.port());
  std::vector<CallResult> results;
  std::jthread caller([&] { results = client.CallMany("/test.Echo/Hold", {"a", "b"}); });
  WaitUntil([&] { return server.service().held() == 2; });
  server.transport().Drain(server.clock().MonotonicNs() + 30 * kNanosPerMilli);
  caller.join();
  for (const CallResult& result : results) REQUIRE_FALSE(result.status.ok());
  REQUIRE(server.service().cancelled_held() == 2);
  REQUIRE(server.service().Release() == 2);  // harmless after the end
}

TEST_CASE("calls before the server is there fail with the place and the reason") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  uint16_t port = 0;
  {
    TestServer server(transport);
    port = server.port();
  }
  TestClient client(port);
  const CallResult result = client.Call("/test.Echo/Unary", "x");
  REQUIRE(result.status.code == RpcCode::kUnavailable);
  REQUIRE_THAT(result.status.message,
               Catch::Contains("127.0.0.1:" + std::to_string(port)) && Catch::Contains("refused"));
}

TEST_CASE("a client finds a restarted server with its next call") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  auto server = std::make_unique<TestServer>(transport);
  const uint16_t port = server->port();
  TestClient client(port);
  REQUIRE(client.Call("/test.Echo/Unary", "x").response == "x");
  server.reset();
  ServerOptions options;
  options.listen.push_back({"http://127.0.0.1:" + std::to_string(port), "127.0.0.1", port});
  server = std::make_unique<TestServer>(transport, options);
  WaitUntil([&] { return client.Call("/test.Echo/Unary", "y").response == "y"; });
}

TEST_CASE("a port in use is named with the reason") {
  const std::string transport = EachTransport();
  CAPTURE(transport);
  TestServer first(transport);
  SystemClock clock;
  TestService service;
  ServerOptions options;
  options.clock = &clock;
  const std::string url = "http://127.0.0.1:" + std::to_string(first.port());
  options.listen.push_back({url, "127.0.0.1", first.port()});
  auto second = CreateServerTransport(transport.substr(0, transport.find('+')), options,
                                      &service.table(), nullptr);
  REQUIRE(second.ok());
  const absl::Status status = (*second)->Bind();
  REQUIRE_FALSE(status.ok());
  REQUIRE_THAT(std::string(status.message()),
               Catch::Contains("listen tcp 127.0.0.1:" + std::to_string(first.port())) &&
                   Catch::Contains("address already in use") && Catch::Contains(url));
}

TEST_CASE("an unknown transport is answered with the known ones") {
  TestService service;
  const auto made = CreateServerTransport("carrier-pigeon", {}, &service.table(), nullptr);
  REQUIRE(made.status().code() == absl::StatusCode::kInvalidArgument);
  for (const ServerTransportRow& row : ServerTransportRegistry()) {
    REQUIRE_THAT(std::string(made.status().message()), Catch::Contains(std::string(row.name)));
  }
}

}  // namespace
}  // namespace quorate::transport
