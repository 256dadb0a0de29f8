// Tokens: one is fetched with name and password, shown with each call, and fetched again when the
// server does not take it any more.
#include <atomic>
#include <catch2/catch.hpp>

#include "ctl/fake_server.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {
namespace {

using transport::RpcCode;
using transport::RpcStatus;

constexpr char kRange[] = "/etcdserverpb.KV/Range";
constexpr char kAuthenticate[] = "/etcdserverpb.Auth/Authenticate";

// Takes root:pw. Tokens are "1", "2" and so on; only the newest is taken, and none after Forget.
class SignInServer {
 public:
  explicit SignInServer(RpcStatus refusal = {}) {
    server_.Answer(kAuthenticate, [this, refusal](transport::ServerCall* call, const Bytes& bytes) {
      if (!refusal.ok()) return call->Finish(refusal);
      etcdserverpb::AuthenticateRequest request;
      QR_CHECK(request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
      if (request.name() != "root" || request.password() != "pw") {
        return call->Finish({RpcCode::kInvalidArgument,
                             "etcdserver: authentication failed, invalid user ID or password"});
      }
      etcdserverpb::AuthenticateResponse response;
      response.set_token(StrCat(++token_));
      call->Reply(Bytes::FromString(response.SerializeAsString()));
    });
    server_.Answer(kRange, [this](transport::ServerCall* call, const Bytes&) {
      const auto token = call->Metadata("token");
      if (!token)
        return call->Finish({RpcCode::kInvalidArgument, "etcdserver: user name is empty"});
      if (forgotten_ == token_ || *token != StrCat(token_.load())) {
        return call->Finish({RpcCode::kUnauthenticated, "etcdserver: invalid auth token"});
      }
      call->Reply(Bytes());
    });
    server_.Start();
  }

  int signed_in() const { return token_; }
  void Forget() { forgotten_ = token_.load(); }
  std::unique_ptr<SyncClient> Client(Credentials credentials) {
    ClientOptions options;
    options.endpoints = {server_.endpoint()};
    options.command_timeout_ns = INT64_C(3600) * kNanosPerSecond;
    options.credentials = std::move(credentials);
    return *SyncClient::Create(options);
  }

 private:
  std::atomic<int> token_{0};
  std::atomic<int> forgotten_{-1};
  FakeServer server_;
};

RpcStatus Read(SyncClient* client) {
  etcdserverpb::RangeResponse response;
  return client->Call(kRange, etcdserverpb::RangeRequest(), &response);
}

TEST_CASE("a client signs in once, and again when its token has ended") {
  SignInServer server;
  const auto client = server.Client({"root", "pw", ""});
  REQUIRE(client->SignIn().ok());
  CHECK(Read(client.get()).ok());
  CHECK(Read(client.get()).ok());
  CHECK(server.signed_in() == 1);
  server.Forget();
  CHECK(Read(client.get()).ok());
  CHECK(server.signed_in() == 2);
}

TEST_CASE("a client that never signed in does so when it is asked to") {
  SignInServer server;
  const auto client = server.Client({"root", "pw", ""});
  CHECK(Read(client.get()).ok());
  CHECK(server.signed_in() == 1);
}

TEST_CASE("what a server says against a sign-in is the answer") {
  SignInServer server;
  const auto client = server.Client({"root", "wrong", ""});
  const RpcStatus refused = client->SignIn();
  CHECK(refused.message == "etcdserver: authentication failed, invalid user ID or password");
  CHECK(Read(client.get()).message == refused.message);
}

TEST_CASE("a token that was given is shown as it is and not renewed") {
  SignInServer server;
  const auto client = server.Client({"", "", "mine"});
  CHECK(client->SignIn().ok());
  CHECK(Read(client.get()).message == "etcdserver: invalid auth token");
  CHECK(server.signed_in() == 0);
}

TEST_CASE("a name without a password does not sign in, as with etcd's client") {
  SignInServer server;
  const auto client = server.Client({"root", "", ""});
  CHECK(client->SignIn().ok());
  CHECK(Read(client.get()).message == "etcdserver: user name is empty");
}

TEST_CASE("a server without authentication takes everybody") {
  SignInServer server({RpcCode::kFailedPrecondition, "etcdserver: authentication is not enabled"});
  const auto client = server.Client({"root", "pw", ""});
  CHECK(client->SignIn().ok());
  CHECK(client->Metadata().empty());
}

TEST_CASE("a request above the limit is not sent") {
  SignInServer server;
  const auto client = server.Client({});
  etcdserverpb::RangeRequest request;
  request.set_key(std::string(3 << 20, 'k'));
  etcdserverpb::RangeResponse response;
  const RpcStatus status = client->Call(kRange, request, &response);
  CHECK(status.code == RpcCode::kResourceExhausted);
  CHECK(status.message == "trying to send message larger than max (3145733 vs. 2097152)");
}

}  // namespace
}  // namespace quorate::ctl
