// The native server under a client that nobody here wrote: grpc++'s generic stub.
#include "base/sanitizer.h"

#if !QUORATE_THREAD_SANITIZER  // Debian's libgrpc is not built for it: all its locks are invisible
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "transport/test_service.h"

namespace quorate::transport {
namespace {

grpc::ByteBuffer BufferOf(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

class GrpcClient {
 public:
  explicit GrpcClient(uint16_t port, grpc::ChannelArguments arguments = {}) {
    arguments.SetMaxReceiveMessageSize(-1);
    // Each test has a connection of its own.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                         grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
  }

  // What is wanted of the call beyond its request is set on `context`.
  std::pair<grpc::Status, std::string> Call(const std::string& method, const std::string& request,
                                            grpc::ClientContext* context) {
    auto call =
        stub_->PrepareUnaryCall(context, "/test.Echo/" + method, BufferOf(request), &queue_);
    grpc::ByteBuffer response;
    grpc::Status status;
    call->StartCall();
    call->Finish(&response, &status, this);
    Wait();
    return {status, TextOf(response)};
  }
  std::pair<grpc::Status, std::string> Call(const std::string& method, const std::string& request) {
    grpc::ClientContext context;
    return Call(method, request, &context);
  }

  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> Open(const std::string& method,
                                                             grpc::ClientContext* context) {
    auto stream = stub_->PrepareCall(context, "/test.Echo/" + method, &queue_);
    stream->StartCall(this);
    Wait();
    return stream;
  }

  // The result of the one operation that is out.
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    REQUIRE(queue_.Next(&tag, &ok));
    return ok;
  }
  void* tag() { return this; }

 private:
  grpc::CompletionQueue queue_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

TEST_CASE("grpc++ calls the native server") {
  TestServer server;
  GrpcClient client(server.port());
  for (const size_t size : {0, 1, 1000, 100'000, 2'000'000}) {
    const std::string request(size, 'g');
    const auto [status, response] = client.Call("Later", request);
    REQUIRE(status.error_message() == "");
    REQUIRE(status.ok());
    REQUIRE(response == request);
  }
  const auto [limit_status, nothing] = client.Call("Unary", std::string(3'000'000, 'g'));
  REQUIRE(limit_status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  REQUIRE(limit_status.error_message() ==
          "grpc: received message larger than max (3000000 vs. 2097152)");
  const auto [fail_status, none] = client.Call("Fail", "9 etcdserver: \xc3\xa4 100%\n");
  REQUIRE(fail_status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  REQUIRE(fail_status.error_message() == "etcdserver: \xc3\xa4 100%\n");
  const auto [unknown, no_answer] = client.Call("Nope", "");
  REQUIRE(unknown.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  REQUIRE(unknown.error_message() == "unknown method Nope for service test.Echo");
  REQUIRE(server.transport().stats().connections_total == 1);
}

TEST_CASE("grpc++ compresses its requests and reads compressed answers") {
  TestServer server;
  GrpcClient client(server.port());
  const std::string request(500'000, 'c');
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  const auto [status, response] = client.Call("Unary", request, &context);
  REQUIRE(status.ok());
  REQUIRE(response == request);
  REQUIRE(server.transport().stats().bytes_received < 20'000);
  REQUIRE(server.transport().stats().bytes_sent < 20'000);
}

TEST_CASE("grpc++ sends metadata, deadlines and cancellations") {
  TestServer server;
  GrpcClient client(server.port());
  grpc::ClientContext with_metadata;
  const std::string binary("\0\xff\n", 3);
  with_metadata.AddMetadata("thing-bin", binary);
  REQUIRE(client.Call("Metadata", "thing-bin", &with_metadata).second == binary);
  // A busy machine may need longer than the deadline to get the call to the server at all.
  for (auto limit = std::chrono::milliseconds(30); server.service().held() == 0; limit *= 2) {
    grpc::ClientContext with_deadline;
    with_deadline.set_deadline(std::chrono::system_clock::now() + limit);
    REQUIRE(client.Call("Hold", "x", &with_deadline).first.error_code() ==
            grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  WaitUntil([&] { return server.service().cancelled_held() == server.service().held(); });
  server.service().Release();
  grpc::ClientContext cancelled;
  std::jthread canceller([&] {
    WaitUntil([&] { return server.service().held() == 1; });
    cancelled.TryCancel();
  });
  REQUIRE(client.Call("Hold", "x", &cancelled).first.error_code() == grpc::StatusCode::CANCELLED);
  WaitUntil([&] { return server.service().cancelled_held() == 1; });
}

TEST_CASE("grpc++ streams both ways and reads a large message by its own windows") {
  TestServer server;
  GrpcClient client(server.port());
  grpc::ClientContext context;
  auto stream = client.Open("Bidi", &context);
  for (int i = 0; i < 50; ++i) {
    const std::string message(static_cast<size_t>(i) * 1000, 's');
    stream->Write(BufferOf(message), client.tag());
    REQUIRE(client.Wait());
    grpc::ByteBuffer answer;
    stream->Read(&answer, client.tag());
    REQUIRE(client.Wait());
    REQUIRE(TextOf(answer) == message);
  }
  stream->WritesDone(client.tag());
  REQUIRE(client.Wait());
  grpc::Status status;
  stream->Finish(&status, client.tag());
  client.Wait();
  REQUIRE(status.ok());
  const std::string large = client.Call("Big", "30000000").second;
  REQUIRE(large.size() == 30'000'000);
  for (size_t i = 0; i < large.size(); i += 997) REQUIRE(large[i] == PatternAt(i));
}

TEST_CASE("grpc++ that pings too often is told so") {
  TestServer server;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  GrpcClient client(server.port(), arguments);
  const auto [status, response] = client.Call("Hold", "x");
  REQUIRE(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  REQUIRE(server.transport().stats().protocol_errors > 0);
  WaitUntil([&] { return server.service().cancelled_held() == 1; });
}

TEST_CASE("grpc++ carries on over a drain with a new connection") {
  auto first = std::make_unique<TestServer>();
  const uint16_t port = first->port();
  GrpcClient client(port);
  REQUIRE(client.Call("Unary", "x").second == "x");
  first->transport().Drain(first->clock().MonotonicNs() + 10 * kNanosPerSecond);
  first.reset();
  ServerOptions options;
  options.listen.push_back({"http://127.0.0.1:" + std::to_string(port), "127.0.0.1", port});
  TestServer second("native", options);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  REQUIRE(client.Call("Unary", "y", &context).second == "y");
}

}  // namespace
}  // namespace quorate::transport
#endif
