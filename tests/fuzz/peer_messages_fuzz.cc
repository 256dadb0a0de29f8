// Bytes of a peer to the decoders of rafthttp's two streams and of single messages. First byte: bit
// 0 chooses the stream, the rest says in what pieces the bytes come. What was understood is encoded
// again and must be understood as the same.
#include <vector>

#include "base/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "transport/peer/peer_message.h"
#include "transport/peer/stream_codec.h"

namespace {

using quorate::Bytes;
using quorate::transport::DecodeMessage;
using quorate::transport::EncodedMessageBytes;
using quorate::transport::EncodeMessage;
using quorate::transport::PeerMessage;

void FeedStream(quorate::transport::StreamKind kind, std::string_view bytes, size_t piece_bytes) {
  quorate::transport::StreamDecoder decoder(kind, {quorate::MemberId(1), quorate::MemberId(2)},
                                            1 << 16);
  std::vector<PeerMessage> messages;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    if (!decoder.Feed(piece, &messages).ok()) break;
  }
  for (const PeerMessage& message : messages) {
    quorate::transport::OutputBuffer out;
    EncodeMessage(message, &out);
    QR_CHECK(out.size() == EncodedMessageBytes(message));
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quorate::fuzz::FuzzInput input(data, size);
  const uint8_t head = input.Byte();
  const std::string_view bytes = input.Rest();
  FeedStream(head % 2 == 0 ? quorate::transport::StreamKind::kMessage
                           : quorate::transport::StreamKind::kAppend,
             bytes, size_t{head} / 2 + 1);
  if (const auto message = DecodeMessage(Bytes::Copy(bytes)); message.ok()) {
    quorate::transport::OutputBuffer out;
    EncodeMessage(*message, &out);
    QR_CHECK(out.size() == EncodedMessageBytes(*message));
  }
  return 0;
}
