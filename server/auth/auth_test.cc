// Passwords, signed tokens and what a call brings. Whether a real etcd takes and makes the same is
// asked by tests/api/auth_test.py, with keys of every kind.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/file_env.h"
#include "base/temp_dir.h"
#include "base/text.h"
#include "server/auth/jwt.h"
#include "server/auth/password.h"
#include "server/auth/password_work.h"
#include "server/auth/tokens.h"
#include "server/auth/verified_tokens.h"

namespace quorate::server {
namespace {

TEST_CASE("passwords: hashes that Go's bcrypt made are known, whatever bytes are in them") {
  const std::pair<std::string, std::string> kMade[] = {
      {"", "$2a$04$vZ6u1y.T6ScI7RyID5XtDuz6CM5Wa5c1KVA6/.oxNL8vehyywtTeW"},
      {"swordfish", "$2a$04$TxgNU1eUwYlNZaniOnXQB.a9f4G5Queuz9y5IK9yYBq4.U3Diup7O"},
      {"\xff\xa3"
       "345",
       "$2a$04$AG/AfG4wSzbpiKMwzCa9pOCBVeIq91RMtlKnra/5i4YfMyWR7xJy."},
      {"\xa3", "$2a$04$7bAwUt.DE5D.17kN2WhKcOQIOmdvPO7tFHjMeyx64Rtv6ERPhcnhm"},
      {std::string(72, 'x'), "$2a$04$5dmHqkZGroe4dgygSoxxJuTHgR13zPDX6h/NsdDTlXrb3HI58a8dy"}};
  for (const auto& [password, hash] : kMade) {
    CAPTURE(password);
    CHECK(VerifyPassword(password, hash));
    CHECK_FALSE(VerifyPassword(password.substr(0, password.size() / 2) + "y", hash));
    std::string changed = hash;
    changed.back() = changed.back() == 'W' ? 'e' : 'W';
    CHECK_FALSE(VerifyPassword(password, changed));
  }
  // The 72 bytes that count.
  CHECK(VerifyPassword(std::string(100, 'x'), kMade[4].second));
  CHECK_FALSE(VerifyPassword(std::string(71, 'x'), kMade[4].second));
  // Nothing behind a zero byte is left out of account.
  CHECK_FALSE(VerifyPassword(std::string("swordfish\0x", 11), kMade[1].second));
}

TEST_CASE("passwords: made as etcd stores them, each with a salt of its own") {
  const absl::StatusOr<std::string> one = HashPassword("pw", kBcryptCostMin);
  const absl::StatusOr<std::string> two = HashPassword("pw", kBcryptCostMin);
  REQUIRE(one.ok());
  REQUIRE(two.ok());
  CHECK(one->starts_with("$2a$04$"));
  CHECK(one->size() == 60);
  CHECK(*one != *two);
  CHECK(VerifyPassword("pw", *one));
  CHECK_FALSE(VerifyPassword("pW", *one));
  CHECK(HashPassword(std::string(73, 'x'), kBcryptCostMin).status().message() ==
        "bcrypt: password length exceeds 72 bytes");
  CHECK_FALSE(HashPassword(std::string("a\0b", 3), kBcryptCostMin).ok());
}

TEST_CASE("passwords: what is no hash is nobody's") {
  const std::string good = "$2a$04$TxgNU1eUwYlNZaniOnXQB.a9f4G5Queuz9y5IK9yYBq4.U3Diup7O";
  for (const std::string& bad :
       {std::string(), std::string("swordfish"), good.substr(1), good.substr(0, 59), good + "x",
        "$2a$4$" + good.substr(6), "$1a$" + good.substr(4), "$2a$xx$" + good.substr(7)}) {
    CAPTURE(bad);
    CHECK_FALSE(VerifyPassword("swordfish", bad));
  }
}

TEST_CASE("password work: so many at a time, so many in line, the rest is refused") {
  auto workers = std::make_unique<WorkerPool>(3);
  PasswordWork work({.running_max = 2, .waiting_max = 2}, workers.get());
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0, most = 0, done = 0;
  bool open = false;
  const auto task = [&] {
    std::unique_lock lock(mutex);
    most = std::max(most, ++running);
    changed.notify_all();
    changed.wait(lock, [&] { return open; });
    --running;
    ++done;
    changed.notify_all();
  };
  for (int i = 0; i < 4; ++i) CHECK(work.Submit(task));
  CHECK_FALSE(work.Submit(task));
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return running == 2; });
  open = true;
  changed.notify_all();
  changed.wait(lock, [&] { return done == 4; });
  CHECK(most == 2);
  workers.reset();  // the last piece still uses what the test has on its stack
}

class FakeClock final : public Clock {
 public:
  int64_t MonotonicNs() const override { return wall_ns; }
  int64_t WallNs() const override { return wall_ns; }
  int64_t wall_ns = 1'000 * kNanosPerSecond;
};

class FakeCall final : public transport::ServerCall {
 public:
  std::optional<std::string> Metadata(std::string_view name) const override {
    for (const auto& [key, value] : metadata) {
      if (key == name) return value;
    }
    return std::nullopt;
  }
  std::string peer() const override { return ""; }
  std::optional<std::string> PeerCommonName() const override { return common_name; }
  int64_t deadline_ns() const override { return INT64_MAX; }
  int64_t received_ns() const override { return 0; }
  bool cancelled() const override { return false; }
  void Send(transport::Message) override {}
  void Finish(transport::RpcStatus) override {}
  void Reply(transport::Message) override {}
  size_t QueuedBytes() const override { return 0; }

  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<std::string> common_name;
};

// A secret in a file, and the options that name it.
struct Secret {
  explicit Secret(std::string_view text) {
    REQUIRE(WriteFileAtomically(PosixFileEnv(), path, text).ok());
  }
  TempDir folder;
  const std::string path = folder.path() + "/secret";
};

TEST_CASE("jwt: claims of our own come back, until their time is over") {
  const Secret secret("a secret");
  const absl::StatusOr<std::unique_ptr<Jwt>> jwt =
      Jwt::Load({.method = "HS256", .private_key_file = secret.path, .ttl_ns = kNanosPerSecond});
  REQUIRE(jwt.ok());
  const int64_t now_ns = 5'000 * kNanosPerSecond;
  const std::string token = *(*jwt)->Sign("a \"name\" \xc3\xa9", 17, now_ns);
  const std::optional<JwtClaims> claims = (*jwt)->Verify(token, now_ns);
  REQUIRE(claims);
  CHECK(claims->username == "a \"name\" \xc3\xa9");
  CHECK(claims->revision == 17);
  CHECK(claims->expires_s == 5001);
  CHECK_FALSE((*jwt)->Verify(token, now_ns + kNanosPerSecond));
  CHECK((*jwt)->Verify(token, now_ns));  // it was found good before, and is judged by its time
  CHECK_FALSE((*jwt)->Verify(token + ".", now_ns));
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'Q' : 'A';
    if (changed == token) continue;
    CAPTURE(changed);
    CHECK_FALSE((*jwt)->Verify(changed, now_ns));
  }
}

TEST_CASE("verified tokens: those that came last are known, a bounded number of them") {
  VerifiedTokens tokens(2);
  const auto claims = [](const std::string& name) { return JwtClaims{name, 7, 1e12, 0}; };
  REQUIRE_FALSE(tokens.Find("a"));
  for (const char* token : {"a", "b", "c"}) tokens.Add(token, claims(token));
  REQUIRE(tokens.Find("a")->username == "a");  // was asked for, and so stays
  tokens.Add("d", claims("d"));
  tokens.Add("e", claims("e"));
  REQUIRE(tokens.size() <= 4);
  REQUIRE_FALSE(tokens.Find("b"));
  REQUIRE(tokens.Find("a"));
  REQUIRE(tokens.Find("e")->revision == 7);
}

TEST_CASE("tokens: what --auth-token may say") {
  const FakeClock clock;
  const Secret secret("a secret");
  const auto made = [&](const std::string& spec) {
    return Tokens::Create({.spec = spec}, &clock).status();
  };
  CHECK(made("simple").ok());
  CHECK(made("simple,what=ever").ok());  // etcd does not mind
  CHECK(made("").ok());
  CHECK(made("jwt,sign-method=HS256,priv-key=" + secret.path).ok());
  for (const std::string& bad :
       {std::string("foo"), std::string("jwt,x"), std::string("jwt,a=b,a=c"),
        std::string("jwt,ttl=x,sign-method=HS256")}) {
    CAPTURE(bad);
    CHECK(ToStd(made(bad).message()).find("auth: invalid auth options") != std::string::npos);
  }
  CHECK(made("jwt").message() == "--auth-token: auth: invalid auth signature method");
  CHECK(made("jwt,sign-method=HS256").message() == "--auth-token: auth: missing key data");
  CHECK(made("jwt,sign-method=RS256").message() == "--auth-token: auth: missing key data");
  CHECK(made("jwt,sign-method=RS256,pub-key=" + secret.path).message() ==
        "--auth-token: the public key is none for RS256");
  CHECK_FALSE(made("jwt,sign-method=RS256,pub-key=/no/such/file").ok());
}

TEST_CASE("tokens: what a call brings") {
  const FakeClock clock;
  using Kind = Credentials::Kind;
  const auto read = [&](const FakeCall& call, Tokens::Options options) {
    return (*Tokens::Create(options, &clock))->Read(call);
  };
  const Tokens::Options simple{.spec = "simple"};
  const Tokens::Options by_name{.spec = "simple", .certificates = Tokens::Certificates::kName};
  FakeCall call;
  CHECK(read(call, simple).kind == Kind::kNone);
  call.common_name = "ann";
  CHECK(read(call, simple).kind == Kind::kNone);
  CHECK(read(call, by_name).kind == Kind::kCertificate);
  CHECK(read(call, by_name).text == "ann");
  call.common_name = "\xff";
  CHECK(read(call, by_name).kind == Kind::kRefused);
  call.common_name = "gateway";
  call.metadata = {{"grpcgateway-accept", "*/*"}};
  CHECK(read(call, by_name).kind == Kind::kNone);
  // A token goes before a certificate, its own place before the common one.
  call.metadata = {{"authorization", "Bearer abc.1"}};
  CHECK(read(call, by_name).text == "abc.1");
  call.metadata.emplace_back("token", "def.2");
  CHECK(read(call, by_name).text == "def.2");
  CHECK(read(call, {.spec = ""}).kind == Kind::kRefused);

  const Secret secret("a secret");
  const Tokens::Options jwt{.spec = "jwt,sign-method=HS512,priv-key=" + secret.path};
  CHECK(read(call, jwt).kind == Kind::kRefused);
  const std::string token = std::get<std::string>((*Tokens::Create(jwt, &clock))->Sign("ann", 9));
  call.metadata = {{"token", token}};
  CHECK(read(call, jwt).kind == Kind::kClaims);
  CHECK(read(call, jwt).claims.username == "ann");
  CHECK(read(call, jwt).claims.revision == 9);
}

TEST_CASE("tokens: secrets are sixteen letters, and never the same") {
  const FakeClock clock;
  const auto tokens = *Tokens::Create({.spec = "simple"}, &clock);
  const std::string one = tokens->NewSecret();
  CHECK(one.size() == 16);
  for (const char c : one) CHECK(((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')));
  CHECK(one != tokens->NewSecret());
  CHECK((*Tokens::Create({.spec = ""}, &clock))->NewSecret().empty());
}

}  // namespace
}  // namespace quorate::server
