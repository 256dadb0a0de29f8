// TLS as clients meet it: who is let in, what happens to those that are not, files that change, and
// bytes that are no handshake. The conformance and abuse suites run over TLS as well.
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "transport/raw_peer.h"
#include "transport/test_service.h"
#include "transport/tls/tls_socket.h"
#include "transport/tls/tls_verify.h"

namespace quorate::transport {
namespace {

using Catch::Contains;
using Security = ListenAddress::Security;
using Side = TlsContext::Side;

ServerOptions Listening(const TlsOptions& options, Security security = Security::kTls) {
  ServerOptions server;
  server.listen.push_back({"https://127.0.0.1:0", "127.0.0.1", 0});
  server.listen.back().security = security;
  server.tls = MakeTlsContext(Side::kServer, options);
  return server;
}

// What a client with these options is answered.
CallResult CallAs(const TestServer& server, const TlsOptions& options,
                  std::string_view method = "/test.Echo/CommonName",
                  const std::string& host = "127.0.0.1") {
  TestClient client(server.port(), MakeTlsContext(Side::kClient, options), host);
  return client.Call(method, "x");
}

void ExpectRefused(const CallResult& result) {
  INFO(result.status.message);
  REQUIRE(result.status.code == RpcCode::kUnavailable);
}

void ExpectClean(TestServer* server) {
  WaitUntil([&] { return server->transport().stats().connections == 0; });
}

// A blocking client that does with OpenSSL what ours never does.
class RawTls {
 public:
  RawTls(uint16_t port, const TlsOptions& options)
      : peer_(port, RawPeer::Layer::kPlain), context_(MakeTlsContext(Side::kClient, options)) {
    check_.options = &context_->options();
    check_.loaded = context_->Current();
    ssl_.reset(SSL_new(check_.loaded->context.get()));
    SSL_clear_options(ssl_.get(), SSL_OP_NO_RENEGOTIATION);
    SSL_set_app_data(ssl_.get(), &check_);
    SSL_set_fd(ssl_.get(), peer_.fd());
    REQUIRE(SSL_connect(ssl_.get()) == 1);
  }
  SSL* ssl() { return ssl_.get(); }
  bool Write(std::string_view bytes) {
    return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
  }
  std::string Read() {
    char bytes[4096];
    const int got = SSL_read(ssl_.get(), bytes, sizeof(bytes));
    return got > 0 ? std::string(bytes, static_cast<size_t>(got)) : std::string();
  }

 private:
  RawPeer peer_;
  const std::shared_ptr<TlsContext> context_;
  TlsPeerCheck check_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
};

// The first bytes that a client sends.
std::string ClientHello() {
  const TlsOptions options;
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(
      SSL_new(MakeTlsContext(Side::kClient, options)->Current()->context.get()), SSL_free);
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  SSL_set_connect_state(ssl.get());
  SSL_do_handshake(ssl.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  return std::string(data, static_cast<size_t>(size));
}

TEST_CASE("a client is known by its certificate's common name") {
  const TestAuthority authority;
  TestServer server("native", Listening(authority.OptionsOf(authority.Issue("server", {}))));
  const TlsOptions alice = authority.OptionsOf(authority.Issue("a", {.common_name = "alice"}));
  REQUIRE(CallAs(server, alice).response == "alice");
  TlsOptions unasked = authority.OptionsOf(authority.Issue("s", {}));
  unasked.other_side = TlsOptions::OtherSide::kNotAsked;
  TestServer open("native", Listening(unasked));
  // Shown or not: what was not checked does not count.
  REQUIRE(CallAs(open, alice).response.empty());
}

TEST_CASE("clients without a good certificate are not served") {
  const TestAuthority authority;
  const TestAuthority stranger;
  TlsOptions of_server = authority.OptionsOf(authority.Issue("server", {}));
  const TestAuthority::Pair revoked = authority.Issue("revoked", {});
  of_server.crl = {"--client-crl-file", authority.path("list.crl")};
  authority.Revoke({revoked}, of_server.crl.path);
  TestServer server("native", Listening(of_server));
  TlsOptions none = authority.OptionsOf({});
  none.cert = none.key = {};
  ExpectRefused(CallAs(server, none));
  TlsOptions unknown = stranger.OptionsOf(stranger.Issue("unknown", {}));
  unknown.trusted_ca = {"", authority.ca_path()};
  ExpectRefused(CallAs(server, unknown));
  const auto with = [&](const TestAuthority::Pair& pair) {
    return CallAs(server, authority.OptionsOf(pair));
  };
  ExpectRefused(with(authority.Issue("expired", {.valid_days = -1})));
  ExpectRefused(with(authority.Issue("early", {.valid_days = 100})));
  ExpectRefused(with(revoked));
  REQUIRE(with(authority.Issue("good", {})).status.ok());
  ExpectClean(&server);
}

TEST_CASE("names of client certificates are compared with the allowed ones") {
  const TestAuthority authority;
  TlsOptions options = authority.OptionsOf(authority.Issue("server", {}));
  const TlsOptions one =
      authority.OptionsOf(authority.Issue("one", {.common_name = "one", .names = "DNS:*.one.net"}));
  const TlsOptions two =
      authority.OptionsOf(authority.Issue("two", {.common_name = "two", .names = "IP:10.0.0.2"}));
  SECTION("common names") {
    options.allowed_cns = {"zero", "one"};
    TestServer server("native", Listening(options));
    REQUIRE(CallAs(server, one).status.ok());
    ExpectRefused(CallAs(server, two));
  }
  SECTION("host names") {
    options.allowed_hostnames = {"a.one.net"};
    TestServer server("native", Listening(options));
    REQUIRE(CallAs(server, one).status.ok());
    ExpectRefused(CallAs(server, two));
  }
  SECTION("addresses") {
    options.allowed_hostnames = {"10.0.0.2"};
    TestServer server("native", Listening(options));
    REQUIRE(CallAs(server, two).status.ok());
    ExpectRefused(CallAs(server, one));
  }
  SECTION("both kinds") {
    options.allowed_cns = {"one"};
    options.allowed_hostnames = {"a.one.net"};
    REQUIRE_THAT(std::string(TlsContext::Create(Side::kServer, options).status().message()),
                 Contains("mutually exclusive"));
  }
}

TEST_CASE("clients refuse servers that they do not know") {
  const TestAuthority authority;
  const TestAuthority stranger;
  const TlsOptions client = authority.OptionsOf(authority.Issue("client", {}));
  TestServer unknown("native", Listening(stranger.OptionsOf(stranger.Issue("server", {}))));
  const CallResult result = CallAs(unknown, client);
  ExpectRefused(result);
  REQUIRE_THAT(result.status.message, Contains("certificate signature failure"));
  TestServer named(
      "native",
      Listening(authority.OptionsOf(authority.Issue("named", {.names = "DNS:localhost"}))));
  REQUIRE_THAT(CallAs(named, client).status.message, Contains("IP address mismatch"));
  REQUIRE(CallAs(named, client, "/test.Echo/Unary", "localhost").status.ok());
  TlsOptions careless = client;
  careless.other_side = TlsOptions::OtherSide::kNotAsked;
  REQUIRE(CallAs(named, careless).status.ok());
}

TEST_CASE("files that change are in force for the next connection") {
  const TestAuthority authority;
  const TestAuthority next;
  const TestAuthority::Pair pair = authority.Issue("server", {});
  TlsOptions options = authority.OptionsOf(pair);
  options.trusted_ca.path = authority.path("trusted.pem");
  std::ofstream(options.trusted_ca.path) << std::ifstream(authority.ca_path()).rdbuf();
  options.crl = {"--client-crl-file", authority.path("list.crl")};
  authority.Revoke({}, options.crl.path);
  TestServer server("native", Listening(options));
  const TestAuthority::Pair client = authority.Issue("client", {});
  TestClient old(server.port(), MakeTlsContext(Side::kClient, authority.OptionsOf(client)));
  REQUIRE(old.Call("/test.Echo/Unary", "x").status.ok());
  SECTION("the server's certificate") {
    const TestAuthority::Pair fresh = next.Issue("server", {});
    std::ofstream(pair.key_path) << std::ifstream(fresh.key_path).rdbuf();
    std::ofstream(pair.cert_path) << std::ifstream(fresh.cert_path).rdbuf();
    ExpectRefused(CallAs(server, authority.OptionsOf(client)));
    TlsOptions trusting = authority.OptionsOf(client);
    trusting.trusted_ca.path = next.ca_path();
    REQUIRE(CallAs(server, trusting).status.ok());
  }
  SECTION("whom it trusts") {
    std::ofstream(options.trusted_ca.path) << std::ifstream(next.ca_path()).rdbuf();
    ExpectRefused(CallAs(server, authority.OptionsOf(client)));
  }
  SECTION("broken files: the last good ones stay") {
    std::ofstream(pair.cert_path) << "half a certificate";
    REQUIRE(CallAs(server, authority.OptionsOf(client)).status.ok());
    authority.Issue("server", {});
    REQUIRE(CallAs(server, authority.OptionsOf(client)).status.ok());
  }
  SECTION("revoked certificates") {
    authority.Revoke({client}, options.crl.path);
    ExpectRefused(CallAs(server, authority.OptionsOf(client)));
  }
  SECTION("a broken list of them lets nobody in") {
    std::ofstream(options.crl.path) << "no list";
    ExpectRefused(CallAs(server, authority.OptionsOf(client)));
    authority.Revoke({}, options.crl.path);
    REQUIRE(CallAs(server, authority.OptionsOf(client)).status.ok());
  }
  // What was open stays open.
  REQUIRE(old.Call("/test.Echo/Unary", "x").status.ok());
  REQUIRE(server.transport().stats().connections_total >= 2);
}

TEST_CASE("plain text and TLS meet, on one port or by mistake") {
  const TestAuthority authority;
  const TlsOptions options = authority.OptionsOf(authority.Issue("both", {}));
  const std::string get = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
  SECTION("plain text to a port of TLS is closed") {
    TestServer server("native", Listening(options));
    RawPeer peer(server.port());
    peer.Send(get);
    REQUIRE(peer.ReadToEnd().empty());
    REQUIRE(CallAs(server, options).status.ok());
    ExpectClean(&server);
  }
  SECTION("TLS to a plain port is closed") {
    TestServer server;
    ExpectRefused(CallAs(server, options));
    ExpectClean(&server);
  }
  SECTION("a port of both serves both") {
    TestServer server("native", Listening(options, Security::kBoth));
    RawPeer peer(server.port());
    peer.Send(get);
    REQUIRE_THAT(peer.ReadHttpResponse(), Contains("hello\n"));
    REQUIRE(CallAs(server, options).status.ok());
    TestClient plain(server.port());
    REQUIRE(plain.Call("/test.Echo/Unary", "x").status.ok());
  }
}

TEST_CASE("a handshake may be cut at any byte, and may be garbage") {
  TestServer server("native+tls");
  const std::string hello = ClientHello();
  for (size_t size = 0; size <= hello.size(); size += 7) {
    RawPeer peer(server.port(), RawPeer::Layer::kPlain);
    peer.Send(std::string_view(hello).substr(0, size));
    peer.Shutdown();
    peer.ReadToEnd();
  }
  for (size_t at = 0; at < hello.size(); at += 3) {
    std::string broken = hello;
    broken[at] = static_cast<char>(broken[at] ^ 0x55);
    RawPeer peer(server.port(), RawPeer::Layer::kPlain);
    peer.Send(broken);
    peer.Shutdown();
    peer.ReadToEnd();
  }
  ExpectClean(&server);
  TestClient client(server.port());
  REQUIRE(client.Call("/test.Echo/CommonName", "").response == "both");
}

TEST_CASE("handshakes that do not go on are ended, the oldest first when there are too many") {
  const TestAuthority authority;
  ManualClock clock;
  TlsOptions options = authority.OptionsOf(authority.Issue("server", {}));
  options.handshakes_max = 4;
  ServerOptions listening = Listening(options);
  listening.clock = &clock;
  listening.preface_timeout_ns = 50 * kNanosPerMilli;
  TestServer server("native", listening);
  const std::string hello = ClientHello();
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 6; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server.port(), RawPeer::Layer::kPlain));
    peers.back()->Send(hello);
    // The server's answer: it is in the handshake.
    REQUIRE(peers.back()->ReadSome().has_value());
  }
  peers[0]->ReadToEnd();
  peers[1]->ReadToEnd();
  WaitUntil([&] { return server.transport().stats().connections == 4; });
  REQUIRE(CallAs(server, options).status.ok());
  WaitUntil([&] { return server.transport().stats().connections == 3; });
  clock.AdvanceNs(listening.preface_timeout_ns);
  for (auto& peer : peers) peer->ReadToEnd();
  ExpectClean(&server);
}

TEST_CASE("renegotiation is refused, and key updates without data have an end") {
  const TestAuthority authority;
  TlsOptions options = authority.OptionsOf(authority.Issue("both", {}));
  TestServer server("native", Listening(options));
  SECTION("renegotiation") {
    options.version_max = TlsVersion::kTls12;
    RawTls peer(server.port(), options);
    REQUIRE(SSL_renegotiate(peer.ssl()) == 1);
    REQUIRE(SSL_do_handshake(peer.ssl()) != 1);
  }
  SECTION("key updates") {
    RawTls peer(server.port(), options);
    // A few are fine.
    REQUIRE(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
    REQUIRE(peer.Write("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
    REQUIRE_THAT(peer.Read(), Contains("hello\n"));
    bool open = true;
    for (int i = 0; open && i < 100'000; ++i) {
      SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
      open = SSL_do_handshake(peer.ssl()) == 1;
    }
    REQUIRE_FALSE(open);
  }
  ExpectClean(&server);
}

TEST_CASE("versions and cipher suites are those that were asked for") {
  const TestAuthority authority;
  const TlsOptions options = authority.OptionsOf(authority.Issue("both", {}));
  TlsOptions only13 = options;
  only13.version_min = TlsVersion::kTls13;
  TlsOptions only12 = options;
  only12.version_max = TlsVersion::kTls12;
  TestServer newer("native", Listening(only13));
  TestServer older("native", Listening(only12));
  REQUIRE(CallAs(newer, only13).status.ok());
  REQUIRE(CallAs(older, only12).status.ok());
  ExpectRefused(CallAs(newer, only12));
  ExpectRefused(CallAs(older, only13));
  only12.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"};
  TestServer picky("native", Listening(only12));
  REQUIRE(CallAs(picky, only12).status.ok());
  only12.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
  ExpectRefused(CallAs(picky, only12));
}

TEST_CASE("names of cipher suites and versions are Go's") {
  REQUIRE(*OpensslCipherList({"TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"}) ==
          "AES128-GCM-SHA256");
  REQUIRE_THAT(std::string(OpensslCipherList({"FOO"}).status().message()),
               Contains("unexpected TLS cipher suite \"FOO\""));
  REQUIRE_FALSE(OpensslCipherList({"TLS_AES_128_GCM_SHA256"}).ok());
  REQUIRE(*ParseTlsVersion("TLS1.3") == TlsVersion::kTls13);
  REQUIRE_FALSE(ParseTlsVersion("TLS1.1").ok());
}

TEST_CASE("addresses are compared as etcd's peers do") {
  const TestAuthority authority;
  const auto compare = [&](const std::string& names, std::vector<std::string>* left) {
    const TestAuthority::Pair pair = authority.Issue("peer", {.names = names});
    FILE* const file = std::fopen(pair.cert_path.c_str(), "r");
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_X509(file, nullptr, nullptr, nullptr), X509_free);
    std::fclose(file);
    return CompareAddress(certificate.get(), "10.0.0.1", left).ok();
  };
  std::vector<std::string> left;
  REQUIRE(compare("", &left));
  REQUIRE(left.empty());
  REQUIRE(compare("IP:10.0.0.1,DNS:other.example", &left));
  REQUIRE(left.empty());
  REQUIRE_FALSE(compare("IP:10.0.0.2", &left));
  REQUIRE(compare("IP:10.0.0.2,DNS:a.example,DNS:*.b.example", &left));
  REQUIRE(left == std::vector<std::string>{"a.example", "*.b.example"});
}

}  // namespace
}  // namespace quorate::transport
