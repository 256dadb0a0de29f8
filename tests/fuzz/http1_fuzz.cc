// Bytes of a client to the server's HTTP/1.1 side, and the same to the parser of answers. The first
// byte says in what pieces they come.
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/protocol_world.h"
#include "transport/http1_parser.h"
#include "transport/http1_session.h"

namespace {

using quorate::transport::Http1Parser;

void ParseAnswers(std::string_view bytes) {
  Http1Parser parser = Http1Parser::Streamed(Http1Parser::Kind::kAnswers);
  while (true) {
    const Http1Parser::Result result = parser.Next(&bytes);
    if (result == Http1Parser::Result::kNeedMore || result == Http1Parser::Result::kError) return;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quorate::fuzz::ProtocolWorld;
  static ProtocolWorld* const world = new ProtocolWorld();
  quorate::fuzz::FuzzInput input(data, size);
  const size_t piece_bytes = size_t{input.Byte()} * 4 + 1;
  const std::string_view bytes = input.Rest();
  quorate::transport::Http1Session session(&world->context(), world, world->peer());
  world->Run(&session, bytes, piece_bytes);
  ParseAnswers(bytes);
  return 0;
}
