#include "transport/message_decoder.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "transport/grpc_wire.h"

namespace quorate::transport {
namespace {

// A peer that only announces a large message does not get the memory for it in advance.
constexpr size_t kReserveBytesMax = 64 * 1024;

RpcStatus TooLarge(uint64_t size, uint64_t bytes_max) {
  return {RpcCode::kResourceExhausted, "grpc: received message larger than max (" +
                                           std::to_string(size) + " vs. " +
                                           std::to_string(bytes_max) + ")"};
}

uint32_t ReadLength(const char* prefix) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(prefix);
  return uint32_t{bytes[1]} << 24 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 8 | bytes[4];
}

}  // namespace

MessageDecoder::Result MessageDecoder::Next(std::string_view* data, Bytes* message,
                                            RpcStatus* error) {
  if (prefix_have_ < kMessagePrefixBytes) {
    const size_t taken = std::min(kMessagePrefixBytes - prefix_have_, data->size());
    std::memcpy(prefix_ + prefix_have_, data->data(), taken);
    prefix_have_ = static_cast<uint8_t>(prefix_have_ + taken);
    data->remove_prefix(taken);
    if (prefix_have_ < kMessagePrefixBytes) return Result::kNeedMore;
    length_ = ReadLength(prefix_);
    if (length_ > message_bytes_max_) {
      *error = TooLarge(length_, message_bytes_max_);
      return Result::kError;
    }
    if (static_cast<unsigned char>(prefix_[0]) > 1) {
      *error = {RpcCode::kInternal, "grpc: received unexpected payload format " +
                                        std::to_string(static_cast<unsigned char>(prefix_[0]))};
      return Result::kError;
    }
  }
  if (partial_.empty() && data->size() >= length_) {
    const std::string_view body = data->substr(0, length_);
    data->remove_prefix(length_);
    return Finish(body, Bytes(), message, error);
  }
  const size_t taken = std::min(length_ - partial_.size(), data->size());
  if (partial_.capacity() < partial_.size() + taken) {
    const size_t next = std::max({kReserveBytesMax, partial_.size() + taken, partial_.size() * 4});
    partial_.reserve(std::min<size_t>(length_, next));
  }
  partial_.append(data->substr(0, taken));
  data->remove_prefix(taken);
  if (partial_.size() < length_) return Result::kNeedMore;
  Bytes whole = Bytes::FromString(std::exchange(partial_, std::string()));
  const std::string_view body = whole.view();
  return Finish(body, std::move(whole), message, error);
}

MessageDecoder::Result MessageDecoder::Finish(std::string_view body, Bytes whole, Bytes* message,
                                              RpcStatus* error) {
  const bool compressed = prefix_[0] == 1;
  prefix_have_ = 0;
  if (!compressed) {
    *message = whole.empty() ? Bytes::Copy(body) : std::move(whole);
    return Result::kMessage;
  }
  if (encoding_ == Encoding::kIdentity) {
    *error = {RpcCode::kInternal, "grpc: compressed flag set with identity or empty encoding"};
    return Result::kError;
  }
  bool too_large = false;
  std::optional<Bytes> plain = GzipDecompress(body, message_bytes_max_, &too_large);
  if (!plain.has_value()) {
    *error =
        too_large
            ? RpcStatus{RpcCode::kResourceExhausted,
                        "grpc: received message after decompression larger than max " +
                            std::to_string(message_bytes_max_)}
            : RpcStatus{RpcCode::kInternal,
                        std::string("grpc: failed to decompress the message: gzip: ") +
                            (body.starts_with("\x1f\x8b") ? "corrupt data" : "invalid header")};
    return Result::kError;
  }
  *message = *std::move(plain);
  return Result::kMessage;
}

}  // namespace quorate::transport
