#include "transport/http2_request_head.h"

#include "base/text.h"
#include "transport/grpc_wire.h"

namespace quorate::transport {

// The strings keep their memory.
void RequestHead::Clear() {
  rules.Clear();
  method.clear();
  path.clear();
  content_type.clear();
  encoding.clear();
  timeout.clear();
  timeout_ns.reset();
  broken_value.clear();
  metadata.Clear();
  list_bytes = 0;
}

void RequestHead::Field(std::string_view name, std::string_view value) {
  rules.Field(name, value);
  switch (name.size()) {
    case 2:
      if (name == "te") return;
      break;
    case 5:
      if (name == ":path") {
        path = value;
        return;
      }
      break;
    case 7:
      if (name == ":method") {
        method = value;
        return;
      }
      if (name == ":scheme") return;
      break;
    case 12:
      if (name == "content-type") {
        content_type = value;
        return;
      }
      if (name == "grpc-timeout") {
        timeout = value;
        const absl::StatusOr<int64_t> parsed = ParseGrpcTimeoutNs(value);
        if (parsed.ok()) {
          timeout_ns = *parsed;
        } else {
          broken_value = StrCat("malformed grpc-timeout: ", ToStd(parsed.status().message()));
        }
        return;
      }
      break;
    case 13:
      if (name == "grpc-encoding") {
        encoding = value;
        return;
      }
      break;
    case 20:
      if (name == "grpc-accept-encoding") return;
      break;
    default:
      break;
  }
  if (name.ends_with("-bin")) {
    const absl::Status status = DecodeBase64(value.substr(0, value.find(','))).status();
    if (!status.ok()) {
      broken_value = StrCat("malformed binary metadata \"", value, "\" in header \"", name,
                            "\": ", ToStd(status.message()));
    }
  }
  metadata.Add(name, value);
}

}  // namespace quorate::transport
