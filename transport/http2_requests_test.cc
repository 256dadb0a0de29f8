// Ordinary HTTP requests on an HTTP/2 connection: what content-length promises is kept (RFC 9113
// §8.1.1), and bodies that are answered while they come.
#include "transport/http2_requests.h"

#include <catch2/catch.hpp>
#include <string>

#include "transport/raw_peer.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

HeaderFields Post(std::string_view path, const HeaderFields& more = {}) {
  HeaderFields fields = {{":method", "POST"},
                         {":scheme", "https"},
                         {":path", std::string(path)},
                         {":authority", "test"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

class Asked {
 public:
  Asked() : server_("native+tls", Options()), peer(server_.port()) { peer.StartHttp2(); }

  void Head(uint32_t stream, const HeaderFields& fields) {
    peer.SendFrame(kHeaders, kEndHeaders, stream, EncodeHeaders(fields));
  }
  // All of the answer's body.
  std::string ReadBody() {
    std::string body;
    for (;;) {
      const Frame frame = peer.ReadFrameOf(kData);
      body += frame.payload;
      if ((frame.flags & kEndStream) != 0) return body;
    }
  }
  uint32_t ResetCode(uint32_t stream) {
    const Frame frame = peer.ReadFrameOf(kRstStream);
    REQUIRE(frame.stream == stream);
    return frame.Word(0);
  }

 private:
  static ServerOptions Options() {
    ServerOptions options;
    options.http_conversations = [](std::string_view path) { return path == "/converse"; };
    return options;
  }
  TestServer server_;

 public:
  RawPeer peer;
};

TEST_CASE("a body is as long as content-length says, or its stream is reset") {
  Asked asked;
  asked.Head(1, Post("/echo", {{"content-length", "4"}}));
  asked.peer.SendFrame(kData, 0, 1, "fo");
  asked.peer.SendFrame(kData, kEndStream, 1, "ur");
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
  REQUIRE(asked.ReadBody() == "four");
  asked.Head(3, Post("/echo", {{"content-length", "4"}}));
  asked.peer.SendFrame(kData, kEndStream, 3, "five!");
  REQUIRE(asked.ResetCode(3) == NGHTTP2_PROTOCOL_ERROR);
  asked.Head(5, Post("/echo", {{"content-length", "4"}}));
  asked.peer.SendFrame(kData, kEndStream, 5, "six");
  REQUIRE(asked.ResetCode(5) == NGHTTP2_PROTOCOL_ERROR);
  asked.peer.SendFrame(kHeaders, kEndHeaders | kEndStream, 7,
                       EncodeHeaders(Post("/echo", {{"content-length", "1"}})));
  REQUIRE(asked.ResetCode(7) == NGHTTP2_PROTOCOL_ERROR);
  // The connection goes on.
  asked.peer.SendFrame(kHeaders, kEndHeaders | kEndStream, 9,
                       EncodeHeaders(Post("/echo", {{"content-length", "0"}})));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
}

TEST_CASE("a conversation is answered while the client speaks") {
  Asked asked;
  asked.Head(1, Post("/converse"));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
  for (const char* word : {"one", "two"}) {
    asked.peer.SendFrame(kData, 0, 1, word);
    REQUIRE(asked.peer.ReadFrameOf(kData).payload == word);
  }
  asked.peer.SendFrame(kData, kEndStream, 1, "");
  REQUIRE(asked.ReadBody().empty());
}

TEST_CASE("a conversation that the server ends, that breaks a promise, or that is left") {
  Asked asked;
  asked.Head(1, Post("/converse"));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
  asked.peer.SendFrame(kData, 0, 1, "end");
  REQUIRE(asked.ReadBody() == "end");
  // The client need not go on, and is told so when it does.
  asked.peer.SendFrame(kData, 0, 1, "more");
  REQUIRE(asked.ResetCode(1) == NGHTTP2_NO_ERROR);
  asked.Head(3, Post("/converse", {{"content-length", "2"}}));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
  asked.peer.SendFrame(kData, 0, 3, "three");
  REQUIRE(asked.ResetCode(3) == NGHTTP2_PROTOCOL_ERROR);
  asked.Head(5, Post("/converse"));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
  asked.peer.SendFrame(kRstStream, 0, 5, BigEndian32(NGHTTP2_CANCEL));
  asked.Head(7, Post("/converse"));
  REQUIRE(asked.peer.ReadHeaders()[":status"] == "200");
}

}  // namespace
}  // namespace quorate::transport
