// Bytes of a client to the server's HTTP/2 and gRPC side. The first byte says in what pieces they
// come; the client's preface and an empty SETTINGS frame are put in front when the second is odd.
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/protocol_world.h"
#include "transport/http2_session.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quorate::fuzz::ProtocolWorld;
  static ProtocolWorld* const world = new ProtocolWorld();
  quorate::fuzz::FuzzInput input(data, size);
  const size_t piece_bytes = size_t{input.Byte()} * 8 + 1;
  std::string bytes;
  if (input.Byte() % 2 == 1) {
    bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    bytes.append(std::string("\0\0\0\4\0\0\0\0\0", 9));
  }
  bytes.append(input.Rest());
  quorate::transport::Http2Session session(
      &world->context(), world, world->peer(),
      quorate::transport::Http2Session::OtherRequests::kServed);
  world->Run(&session, bytes, piece_bytes);
  return 0;
}
