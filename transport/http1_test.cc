// HTTP/1.1 on the port of the native server, and how it is told from HTTP/2.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "transport/http1_parser.h"
#include "transport/raw_peer.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

using Catch::Contains;
using Catch::EndsWith;
using Catch::StartsWith;

TEST_CASE("HTTP/1.1 requests are answered on a connection that stays open") {
  TestServer server;
  RawPeer peer(server.port());
  for (int i = 0; i < 3; ++i) {
    peer.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string response = peer.ReadHttpResponse();
    REQUIRE_THAT(response, StartsWith("HTTP/1.1 200 OK\r\n") && EndsWith("\r\n\r\nhello\n") &&
                               Contains("Content-Type: text/plain; charset=utf-8\r\n") &&
                               Contains("Content-Length: 6\r\n") && Contains("\r\nDate: ") &&
                               Contains(" GMT\r\n"));
  }
  peer.Send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  REQUIRE_THAT(peer.ReadToEnd(), Contains("Connection: close\r\n") && EndsWith("hello\n"));
}

TEST_CASE("a request may come byte by byte, its body in chunks") {
  TestServer server;
  RawPeer peer(server.port());
  const std::string request =
      "POST /echo?a=b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n1\r\n \r\n00b\r\nand goodbye\r\n0\r\nTrailer: x\r\n\r\n";
  for (const char c : request) peer.Send(std::string_view(&c, 1));
  REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\nhello and goodbye"));
}

TEST_CASE("pipelined requests are answered in order, also from another thread") {
  TestServer server;
  RawPeer peer(server.port());
  std::string requests;
  for (int i = 0; i < 200; ++i) {
    const std::string body = std::to_string(i);
    requests += std::string("POST ") + (i % 2 == 0 ? "/later" : "/echo") +
                " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body;
  }
  peer.Send(requests);
  for (int i = 0; i < 200; ++i) {
    REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\n" + std::to_string(i)));
  }
}

TEST_CASE("HEAD gets the head, unknown paths 404, HTTP/1.0 is closed") {
  TestServer server;
  RawPeer peer(server.port());
  peer.Send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE_THAT(peer.ReadHttpHead(), Contains("Content-Length: 6\r\n"));
  peer.Send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE_THAT(peer.ReadHttpResponse(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  peer.Send("GET /hello HTTP/1.0\r\n\r\n");
  REQUIRE_THAT(peer.ReadToEnd(), StartsWith("HTTP/1.1 200 OK\r\n") && EndsWith("hello\n"));
}

TEST_CASE("a client that waits for 100 Continue gets it") {
  TestServer server;
  RawPeer peer(server.port());
  peer.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(peer.ReadHttpHead() == "HTTP/1.1 100 Continue\r\n\r\n");
  peer.Send("body");
  REQUIRE_THAT(peer.ReadHttpResponse(), EndsWith("\r\n\r\nbody"));
}

TEST_CASE("what cannot be understood is refused and the connection closed") {
  TestServer server;
  const auto answer = [&](const std::string& request) {
    RawPeer peer(server.port());
    peer.Send(request);
    return peer.ReadToEnd();
  };
  const std::string host = "Host: x\r\n";
  REQUIRE_THAT(answer("GET\r\n\r\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  REQUIRE_THAT(answer("GET /hello HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("GET /%zz HTTP/1.1\r\n" + host + "\r\n"), StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("GET /hello HTTP/1.1\r\n" + host + "Bad Name: x\r\n\r\n"),
               StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("GET /hello HTTP/1.1\r\n" + host + " folded\r\n\r\n"),
               StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("POST /echo HTTP/1.1\r\n" + host +
                      "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
               StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("POST /echo HTTP/1.1\r\n" + host +
                      "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
               StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(
      answer("POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
      StartsWith("HTTP/1.1 400 "));
  REQUIRE_THAT(answer("POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n"),
               StartsWith("HTTP/1.1 501 "));
  REQUIRE_THAT(answer("POST /echo HTTP/1.1\r\n" + host + "Content-Length: 2097153\r\n\r\n"),
               StartsWith("HTTP/1.1 413 "));
  REQUIRE_THAT(
      answer("POST /echo HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n200001\r\n"),
      StartsWith("HTTP/1.1 413 "));
  REQUIRE_THAT(answer("GET /hello HTTP/1.1\r\n" + host + "A: " + std::string(70'000, 'x')),
               StartsWith("HTTP/1.1 431 "));
  REQUIRE_THAT(answer("GET /hello HTTP/3.0\r\n" + host + "\r\n"), StartsWith("HTTP/1.1 505 "));
  REQUIRE_THAT(answer("GET /hello HTTP/1.1\r\n" + host + "Expect: miracles\r\n\r\n"),
               StartsWith("HTTP/1.1 417 "));
  // Neither protocol: closed without a word.
  REQUIRE(answer(std::string("\x16\x03\x01\x02\x00\x01", 6)).empty());
}

TEST_CASE("the HTTP/2 preface may come in pieces, and POST is not taken for it") {
  TestServer server;
  RawPeer http2(server.port());
  for (const char c : std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) {
    http2.Send(std::string_view(&c, 1));
  }
  http2.SendFrame(kSettings, kNoFlags, 0, "");
  http2.SendCall(1, "/test.Echo/Unary", "in pieces");
  REQUIRE(http2.ReadFrameOf(kData).payload == GrpcMessage("in pieces"));
  RawPeer http1(server.port());
  http1.Send("P");
  http1.Send("OST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
  REQUIRE_THAT(http1.ReadHttpResponse(), EndsWith("\r\n\r\nok"));
}

TEST_CASE("a listener serves only what it is for") {
  ServerOptions options;
  options.listen.push_back(
      {"http://127.0.0.1:0", "127.0.0.1", 0, "", ListenAddress::Serve::kGrpcOnly});
  options.listen.push_back(
      {"http://127.0.0.1:0", "127.0.0.1", 0, "", ListenAddress::Serve::kHttpOnly});
  TestServer server("native", options);
  const std::vector<uint16_t> ports = server.transport().ports();
  REQUIRE(ports.size() == 2);
  RawPeer http_on_grpc(ports[0]);
  http_on_grpc.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(http_on_grpc.ReadToEnd().empty());
  RawPeer grpc_on_http(ports[1]);
  grpc_on_http.StartHttp2();
  REQUIRE_THAT(grpc_on_http.ReadToEnd(), StartsWith("HTTP/1.1 505 "));
  TestClient client(ports[0]);
  REQUIRE(client.Call("/test.Echo/Unary", "x").response == "x");
  RawPeer http(ports[1]);
  http.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE_THAT(http.ReadHttpResponse(), EndsWith("hello\n"));
}

TEST_CASE("connections that say nothing, or stop in the middle, are closed") {
  ServerOptions options;
  options.preface_timeout_ns = 20 * kNanosPerMilli;
  options.http_idle_timeout_ns = 20 * kNanosPerMilli;
  TestServer server("native", options);
  RawPeer silent(server.port());
  REQUIRE(silent.ReadToEnd().empty());
  RawPeer half_preface(server.port());
  half_preface.Send("PRI * HTTP");
  REQUIRE(half_preface.ReadToEnd().empty());
  RawPeer half_request(server.port());
  half_request.Send("GET /hello HTT");
  REQUIRE(half_request.ReadToEnd().empty());
  WaitUntil([&] { return server.transport().stats().connections == 0; });
}

TEST_CASE("a drain ends idle HTTP/1.1 connections") {
  TestServer server;
  RawPeer idle(server.port());
  idle.Send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE_THAT(idle.ReadHttpResponse(), EndsWith("hello\n"));
  std::jthread drainer(
      [&] { server.transport().Drain(server.clock().MonotonicNs() + 60 * kNanosPerSecond); });
  REQUIRE(idle.ReadToEnd().empty());
  idle.Shutdown();
  drainer.join();
}

TEST_CASE("a unix socket serves like a port and its file goes with the server") {
  const std::string path = "transport_test_" + std::to_string(getpid()) + ".sock";
  ServerOptions options;
  options.listen.push_back({"unix://" + path, "", 0, path});
  for (int round = 0; round < 2; ++round) {
    // The second time over a file that a killed server would leave.
    if (round == 1) {
      const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un name{};
      name.sun_family = AF_UNIX;
      path.copy(name.sun_path, sizeof(name.sun_path) - 1);
      REQUIRE(bind(stale, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0);
      close(stale);
    }
    TestServer server("native", options);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof(name.sun_path) - 1);
    REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0);
    const std::string_view request = "GET /hello HTTP/1.0\r\n\r\n";
    REQUIRE(send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
    std::string response;
    char bytes[4096];
    for (ssize_t got; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
      response.append(bytes, static_cast<size_t>(got));
    }
    REQUIRE_THAT(response, EndsWith("hello\n"));
    close(fd);
  }
  struct stat file {};
  REQUIRE(stat(path.c_str(), &file) != 0);
}

TEST_CASE("localhost is bound on all its addresses under one port") {
  ServerOptions options;
  options.listen.push_back({"http://localhost:0", "localhost", 0});
  TestServer server("native", options);
  REQUIRE(server.port() != 0);
  TestClient by_name(server.port(), "localhost");
  REQUIRE(by_name.Call("/test.Echo/Unary", "x").response == "x");
  TestClient by_address(server.port(), "127.0.0.1");
  REQUIRE(by_address.Call("/test.Echo/Unary", "x").response == "x");
}

TEST_CASE("without a host every address of the machine is bound under one port") {
  ServerOptions options;
  options.listen.push_back({"http://:0", "", 0});
  TestServer server("native", options);
  TestClient by_ipv4(server.port(), "127.0.0.1");
  REQUIRE(by_ipv4.Call("/test.Echo/Unary", "x").response == "x");
  // A second server cannot share it, on either family.
  for (const char* host : {"", "127.0.0.1"}) {
    ServerOptions second;
    second.listen.push_back({"http://" + std::string(host), host, server.port()});
    second.clock = &server.clock();
    const auto made = CreateServerTransport("native", second, &server.service().table(), nullptr);
    REQUIRE_THAT(std::string((*made)->Bind().message()), Contains("address already in use"));
  }
  const int ipv6 = socket(AF_INET6, SOCK_STREAM, 0);
  if (ipv6 < 0) return;  // a machine without IPv6
  close(ipv6);
  TestClient by_ipv6(server.port(), "::1");
  REQUIRE(by_ipv6.Call("/test.Echo/Unary", "x").response == "x");
}

TEST_CASE("the parser ignores blank lines before a request and reads absolute targets") {
  Http1Parser parser(1000);
  std::string_view data =
      "\r\n\nGET http://host:1/a%20b?q=%20 HTTP/1.1\r\nhost: h\r\nX-A:  v \r\n\r\n";
  REQUIRE(parser.Next(&data) == Http1Parser::Result::kRequest);
  REQUIRE(parser.request().path == "/a b");
  REQUIRE(parser.request().query == "q=%20");
  REQUIRE(parser.request().headers.back() == std::pair<std::string, std::string>("x-a", "v"));
  REQUIRE(parser.keep_alive());
  REQUIRE(parser.Next(&data) == Http1Parser::Result::kNeedMore);
  REQUIRE_FALSE(parser.started());
}

}  // namespace
}  // namespace quorate::transport
