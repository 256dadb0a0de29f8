// RequestHead: the header block of a request as its fields come, for gRPC calls and for the others.
// Source: RFC 9113 §8.3, gRPC's PROTOCOL-HTTP2 description. Loop thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transport/http2_head_rules.h"
#include "transport/native_call.h"

namespace quorate::transport {

struct RequestHead {
  // A new block begins.
  void Clear();
  // The next field, in the order of the block.
  void Field(std::string_view name, std::string_view value);

  HeadRules rules;
  std::string method;
  std::string path;
  std::string content_type;
  std::string encoding;
  std::string timeout;
  std::optional<int64_t> timeout_ns;
  // Why a gRPC call cannot have such fields, in grpc-go's words; empty if it can.
  std::string broken_value;
  MetadataBlock metadata;  // what is not above
  size_t list_bytes = 0;   // as RFC 9113 counts them, 32 extra per field
};

}  // namespace quorate::transport
