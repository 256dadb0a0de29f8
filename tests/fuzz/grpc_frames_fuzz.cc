// A gRPC stream's bytes to the decoder of its messages. First byte: bit 0 allows gzip, the rest
// says in what pieces the bytes come. What comes out must not depend on the pieces.
#include <string>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "transport/message_decoder.h"

namespace {

using quorate::transport::MessageDecoder;

struct Decoded {
  std::vector<std::string> messages;
  bool broken = false;
  bool operator==(const Decoded&) const = default;
};

Decoded Decode(MessageDecoder::Encoding encoding, std::string_view bytes, size_t piece_bytes) {
  Decoded decoded;
  MessageDecoder decoder(1 << 16);
  decoder.set_encoding(encoding);
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    while (true) {
      quorate::Bytes message;
      quorate::transport::RpcStatus error;
      const MessageDecoder::Result result = decoder.Next(&piece, &message, &error);
      if (result == MessageDecoder::Result::kNeedMore) break;
      if (result == MessageDecoder::Result::kError) {
        decoded.broken = true;
        return decoded;
      }
      decoded.messages.emplace_back(message.view());
    }
  }
  return decoded;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quorate::fuzz::FuzzInput input(data, size);
  const uint8_t head = input.Byte();
  const auto encoding =
      head % 2 == 1 ? MessageDecoder::Encoding::kGzip : MessageDecoder::Encoding::kIdentity;
  const std::string_view bytes = input.Rest();
  const Decoded whole = Decode(encoding, bytes, bytes.size() + 1);
  QR_CHECK(Decode(encoding, bytes, size_t{head} / 2 + 1) == whole);
  return 0;
}
