// --command-timeout holds whatever the server does: it refuses, says nothing, closes, goes away
// before or in the middle of a call, or its name cannot be looked up. A call that hangs is caught
// by the time limit of the test program.
#include "ctl/sync_client.h"

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <future>

#include "base/check.h"
#include "base/text.h"
#include "ctl/test_listener.h"
#include "proto/etcdserverpb.pb.h"
#include "transport/server.h"

namespace {

constexpr char kNameThatHangs[] = "name-server-is-silent.invalid";
std::promise<void>* release_lookup = nullptr;
std::atomic<int> lookups_held{0};

}  // namespace

// Stands before the C library's: one name is looked up for as long as the test wants.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
  static const auto real =
      reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const bool numeric = hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0;
  if (!numeric && node != nullptr && std::strcmp(node, kNameThatHangs) == 0) {
    ++lookups_held;
    release_lookup->get_future().wait();
    --lookups_held;
    return EAI_AGAIN;
  }
  return real(node, service, hints, result);
}

namespace quorate::ctl {
namespace {

using transport::RpcCode;
using transport::RpcStatus;

constexpr char kPath[] = "/etcdserverpb.KV/Range";

std::string FrameOf(uint8_t type, uint32_t stream, std::string_view payload) {
  std::string frame(9, '\0');
  frame[2] = static_cast<char>(payload.size());
  frame[3] = static_cast<char>(type);
  frame[8] = static_cast<char>(stream);
  return frame + std::string(payload);
}

std::string Settings() { return FrameOf(4, 0, ""); }
// Last stream `last`, no error.
std::string Goaway(char last) {
  return FrameOf(7, 0, std::string("\0\0\0", 3) + last + std::string(4, '\0'));
}

// Accepts connections one after the other and treats each in the same bad way.
class BadServer {
 public:
  enum class Then { kHold, kClose };
  // `greeting` is sent at once; `answer` when the client has sent something after its preface.
  BadServer(std::string greeting, std::string answer, Then then)
      : greeting_(std::move(greeting)),
        answer_(std::move(answer)),
        then_(then),
        listener_(std::make_unique<TestListener>([this](int fd) { Treat(fd); })) {}
  ~BadServer() {
    listener_.reset();
    for (const int fd : held_) close(fd);
  }

  std::string endpoint() const { return listener_->endpoint(); }

 private:
  void Treat(int fd) {
    send(fd, greeting_.data(), greeting_.size(), MSG_NOSIGNAL);
    if (!answer_.empty()) {
      char byte;
      if (recv(fd, &byte, 1, 0) > 0) send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    }
    if (then_ == Then::kHold && held_.size() < 256) {
      held_.push_back(fd);
    } else {
      close(fd);
    }
  }

  const std::string greeting_, answer_;
  const Then then_;
  std::vector<int> held_;
  std::unique_ptr<TestListener> listener_;
};

RpcStatus CallOnceThrough(const std::string& endpoint, int64_t timeout_ns) {
  ClientOptions options;
  options.endpoints = {endpoint};
  options.command_timeout_ns = timeout_ns;
  auto client = SyncClient::Create(options);
  REQUIRE(client.ok());
  etcdserverpb::RangeRequest request;
  request.set_key("k");
  etcdserverpb::RangeResponse response;
  return (*client)->Call(kPath, request, &response);
}

void ExpectDeadlines(const BadServer& server) {
  for (int i = 0; i < 100; ++i) {
    const RpcStatus status = CallOnceThrough(server.endpoint(), (1 + i % 5) * kNanosPerMilli);
    INFO(status.message);
    REQUIRE(status.code == RpcCode::kDeadlineExceeded);
  }
}

TEST_CASE("a command ends in time beside a server that behaves badly") {
  using Then = BadServer::Then;
  SECTION("says nothing") { ExpectDeadlines(BadServer("", "", Then::kHold)); }
  SECTION("closes at once") { ExpectDeadlines(BadServer("", "", Then::kClose)); }
  SECTION("speaks and then says nothing") {
    ExpectDeadlines(BadServer(Settings(), "", Then::kHold));
  }
  SECTION("speaks and closes") { ExpectDeadlines(BadServer(Settings(), "", Then::kClose)); }
  SECTION("goes away before the call") {
    ExpectDeadlines(BadServer(Settings() + Goaway(0), "", Then::kHold));
  }
  SECTION("goes away during the call and finishes it never") {
    ExpectDeadlines(BadServer(Settings(), Goaway(1), Then::kHold));
  }
  SECTION("goes away before the call and closes") {
    ExpectDeadlines(BadServer("", Settings() + Goaway(0), Then::kClose));
  }
  SECTION("ends each stream as refused") {
    ExpectDeadlines(BadServer(Settings(), FrameOf(3, 1, std::string("\0\0\0\7", 4)), Then::kHold));
  }
}

TEST_CASE("a command ends in time when the name of the server cannot be looked up") {
  std::promise<void> release;
  release_lookup = &release;
  const RpcStatus status = CallOnceThrough(StrCat(kNameThatHangs, ":2379"), 20 * kNanosPerMilli);
  CHECK(status.code == RpcCode::kDeadlineExceeded);
  while (lookups_held.load() != 1) std::this_thread::yield();
  // The lookup goes on when nobody waits for it any more, and hurts nobody.
  release.set_value();
  while (lookups_held.load() != 0) std::this_thread::yield();
}

TEST_CASE("a name that is known is looked up and called") {
  BadServer server(Settings(), "", BadServer::Then::kHold);
  const std::string port = server.endpoint().substr(server.endpoint().find(':'));
  const RpcStatus status = CallOnceThrough("localhost" + port, 50 * kNanosPerMilli);
  CHECK(status.code == RpcCode::kDeadlineExceeded);
  const RpcStatus unknown = CallOnceThrough("no-such-host.invalid:1", 50 * kNanosPerMilli);
  CHECK(unknown.code == RpcCode::kDeadlineExceeded);
}

// Answers Range from the loop's thread with the request's own bytes.
class GoodServer {
 public:
  GoodServer() {
    transport::Method range;
    range.path = kPath;
    range.unary = [](const std::shared_ptr<transport::ServerCall>& call, const Bytes&) {
      etcdserverpb::RangeResponse response;
      response.set_count(7);
      call->Reply(Bytes::FromString(response.SerializeAsString()));
    };
    table_.Add(std::move(range));
    transport::ServerOptions options;
    options.listen.push_back({"http://127.0.0.1:0", "127.0.0.1", 0});
    options.clock = &clock_;
    transport_ = *transport::CreateServerTransport("native", options, &table_, nullptr);
    QR_CHECK(transport_->Bind().ok());
    transport_->Serve();
  }
  std::string endpoint() const { return StrCat("127.0.0.1:", transport_->ports().front()); }

 private:
  SystemClock clock_;
  transport::ServiceTable table_;
  std::unique_ptr<transport::ServerTransport> transport_;
};

TEST_CASE("thousands of clients come, ask and go") {
  GoodServer server;
  std::vector<std::thread> users;
  std::atomic<int> answered{0};
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        ClientOptions options;
        options.endpoints = {server.endpoint()};
        options.command_timeout_ns = INT64_C(3600) * kNanosPerSecond;
        auto client = *SyncClient::Create(options);
        etcdserverpb::RangeRequest request;
        request.set_key("k");
        etcdserverpb::RangeResponse response;
        const RpcStatus status = client->Call(kPath, request, &response);
        if (status.ok() && response.count() == 7) ++answered;
      }
    });
  }
  for (std::thread& user : users) user.join();
  CHECK(answered.load() == 2000);
}

}  // namespace
}  // namespace quorate::ctl
