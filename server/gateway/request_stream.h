// RequestStream: the requests of a body that comes in pieces, one JSON object behind the other.
// What follows a broken one cannot be read. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "google/protobuf/descriptor.h"
#include "server/gateway/json_reader.h"
#include "transport/rpc.h"

namespace quorate::server {

// Reads the next object as a message of `type` in the API's own encoding.
transport::RpcStatus ReadRequest(JsonReader* reader, const google::protobuf::Descriptor& type,
                                 uint64_t message_bytes_max, Bytes* out);

class RequestStream {
 public:
  // `type` outlives it. An object's text may be twice as long as the message: base64 and names.
  RequestStream(const google::protobuf::Descriptor* type, uint64_t message_bytes_max)
      : type_(type), message_bytes_max_(message_bytes_max) {}

  // Takes more of the body; what is complete with it is added to *requests, also before an error.
  transport::RpcStatus Take(std::string_view piece, std::vector<Bytes>* requests);

 private:
  // The object under way ends with this character.
  bool EndsWith(char c);

  const google::protobuf::Descriptor* const type_;
  const uint64_t message_bytes_max_;
  std::string text_;  // of the object under way
  size_t depth_ = 0;  // of braces and brackets
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace quorate::server
