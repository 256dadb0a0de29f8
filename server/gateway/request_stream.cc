#include "server/gateway/request_stream.h"

#include <memory>

#include "base/text.h"
#include "server/gateway/gateway_call.h"

namespace quorate::server {

using transport::RpcCode;
using transport::RpcStatus;

namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

RpcStatus TooLarge(uint64_t bytes, uint64_t bytes_max) {
  return {RpcCode::kResourceExhausted,
          StrCat("grpc: received message larger than max (", bytes, " vs. ", bytes_max, ")")};
}

}  // namespace

RpcStatus ReadRequest(JsonReader* reader, const google::protobuf::Descriptor& type,
                      uint64_t message_bytes_max, Bytes* out) {
  const auto message = NewMessage(type);
  // No object at all stands for an empty one.
  const absl::Status status = reader->AtEnd() ? absl::OkStatus() : reader->Next(message.get());
  if (!status.ok()) return {RpcCode::kInvalidArgument, std::string(status.message())};
  const size_t bytes = message->ByteSizeLong();
  if (bytes > message_bytes_max) return TooLarge(bytes, message_bytes_max);
  *out = Bytes::FromString(message->SerializeAsString());
  return {};
}

RpcStatus RequestStream::Take(std::string_view piece, std::vector<Bytes>* requests) {
  for (const char c : piece) {
    if (text_.empty() && IsBlank(c)) continue;
    text_.push_back(c);
    // What is no object is wrong whatever follows.
    const bool object = text_.front() == '{';
    if (object && !EndsWith(c)) {
      if (text_.size() > 2 * message_bytes_max_) return TooLarge(text_.size(), message_bytes_max_);
      continue;
    }
    JsonReader reader(text_);
    Bytes request;
    RpcStatus status = ReadRequest(&reader, *type_, message_bytes_max_, &request);
    if (!status.ok()) return status;
    requests->push_back(std::move(request));
    text_.clear();
  }
  return {};
}

bool RequestStream::EndsWith(char c) {
  if (in_string_) {
    if (!escaped_ && c == '"') in_string_ = false;
    escaped_ = !escaped_ && c == '\\';
    return false;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if (c != '}' && c != ']') return false;
  --depth_;
  return depth_ == 0;
}

}  // namespace quorate::server
