// MessageDecoder: cuts one direction of a gRPC stream into messages: 5-byte prefix, size limit,
// decompression. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "transport/rpc.h"

namespace quorate::transport {

class MessageDecoder {
 public:
  enum class Encoding : uint8_t { kIdentity, kGzip };

  explicit MessageDecoder(uint64_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}
  void set_encoding(Encoding encoding) { encoding_ = encoding; }
  Encoding encoding() const { return encoding_; }

  enum class Result { kMessage, kNeedMore, kError };
  // Takes from the front of *data until a message is complete (*message is set; call again) or the
  // data is used up. kError: *error says what ends the call; the decoder is then not used again.
  Result Next(std::string_view* data, Bytes* message, RpcStatus* error);

  // The stream ended in the middle of a message; what is less than a message's head counts as
  // nothing, as with grpc-go.
  bool inside_message() const { return prefix_have_ == sizeof(prefix_); }
  // As newly made.
  bool fresh() const { return prefix_have_ == 0 && encoding_ == Encoding::kIdentity; }

 private:
  Result Finish(std::string_view body, Bytes whole, Bytes* message, RpcStatus* error);

  const uint64_t message_bytes_max_;
  std::string partial_;
  uint32_t length_ = 0;
  uint8_t prefix_have_ = 0;
  char prefix_[5] = {};
  Encoding encoding_ = Encoding::kIdentity;
};

}  // namespace quorate::transport
