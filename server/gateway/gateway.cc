#include "server/gateway/gateway.h"

#include <charconv>
#include <optional>

#include "base/text.h"
#include "google/protobuf/descriptor.h"
#include "server/gateway/gateway_call.h"
#include "server/gateway/json_reader.h"
#include "server/gateway/request_stream.h"
#include "server/gateway/routes.h"

namespace quorate::server {

using google::protobuf::MethodDescriptor;
using transport::HttpRequest;
using transport::HttpResponse;
using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr std::string_view kRoot = "/v3/";

// "/etcdserverpb.KV/Range"
const MethodDescriptor* Describe(std::string_view method) {
  std::string name(method.substr(1));
  name[name.find('/')] = '.';
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
}

// Every message of the body, as the bytes of the API's own encoding.
struct Requests {
  std::vector<Bytes> messages;
  RpcStatus error;
};

Requests ReadRequests(std::string_view body, const MethodDescriptor& method,
                      uint64_t message_bytes_max) {
  Requests read;
  JsonReader reader(body);
  do {
    // A call with one request takes the first and is content with none; as in Go's gateway nobody
    // looks at what follows.
    if (reader.AtEnd() && (method.client_streaming() || !read.messages.empty())) break;
    Bytes message;
    read.error = ReadRequest(&reader, *method.input_type(), message_bytes_max, &message);
    if (!read.error.ok()) break;
    read.messages.push_back(std::move(message));
  } while (method.client_streaming());
  return read;
}

int64_t UnitNs(char unit) {
  switch (unit) {
    case 'H':
      return 3600 * kNanosPerSecond;
    case 'M':
      return 60 * kNanosPerSecond;
    case 'S':
      return kNanosPerSecond;
    case 'm':
      return kNanosPerMilli;
    case 'u':
      return 1000;
    case 'n':
      return 1;
    default:
      return 0;
  }
}

// The monotonic time that a Grpc-Timeout header means: INT64_MAX when it is empty or zero, in the
// past when it is negative, nothing when it is no such text. As Go's gateway reads it, but for
// times beyond three hundred years.
std::optional<int64_t> ReadDeadline(std::string_view text, int64_t now_ns) {
  if (text.empty()) return INT64_MAX;
  const int64_t unit_ns = UnitNs(text.back());
  text.remove_suffix(1);
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), count);
  if (unit_ns == 0 || error != std::errc() || end != text.end()) return std::nullopt;
  if (count < 0) return now_ns - 1;
  if (count == 0 || count > (INT64_MAX - now_ns) / unit_ns) return INT64_MAX;
  return now_ns + count * unit_ns;
}

}  // namespace

int HttpStatusOf(RpcCode code) {
  switch (code) {
    case RpcCode::kOk:
      return 200;
    case RpcCode::kCanceled:
      return 499;
    case RpcCode::kInvalidArgument:
    case RpcCode::kFailedPrecondition:
    case RpcCode::kOutOfRange:
      return 400;
    case RpcCode::kDeadlineExceeded:
      return 504;
    case RpcCode::kNotFound:
      return 404;
    case RpcCode::kAlreadyExists:
    case RpcCode::kAborted:
      return 409;
    case RpcCode::kPermissionDenied:
      return 403;
    case RpcCode::kUnauthenticated:
      return 401;
    case RpcCode::kResourceExhausted:
      return 429;
    case RpcCode::kUnimplemented:
      return 501;
    case RpcCode::kUnavailable:
      return 503;
    case RpcCode::kUnknown:
    case RpcCode::kInternal:
    case RpcCode::kDataLoss:
      return 500;
  }
  return 500;
}

bool Gateway::Converses(std::string_view path) {
  const GatewayRoute* route = FindGatewayRoute(path);
  return route != nullptr && Describe(route->method)->client_streaming();
}

bool Gateway::Serves(std::string_view path) { return path.substr(0, kRoot.size()) == kRoot; }

void Gateway::Serve(HttpRequest request, Headers headers, ReplyFn reply) const {
  const GatewayRoute* route = FindGatewayRoute(request.path);
  if (route == nullptr) return reply(ErrorResponse({RpcCode::kNotFound, "Not Found"}));
  if (request.method != "POST") {
    return reply(ErrorResponse({RpcCode::kUnimplemented, "Method Not Allowed"}));
  }
  const transport::Method* method = parts_.services->Find(route->method);
  const MethodDescriptor* description = Describe(route->method);
  if (method == nullptr || description == nullptr) {
    return reply(ErrorResponse(transport::UnknownMethodStatus(*parts_.services, route->method)));
  }
  const std::string timeout = std::string(request.Header("grpc-timeout").value_or(""));
  const int64_t now_ns = parts_.context->clock->MonotonicNs();
  const std::optional<int64_t> deadline_ns = ReadDeadline(timeout, now_ns);
  if (!deadline_ns.has_value()) {
    return reply(
        ErrorResponse({RpcCode::kInvalidArgument, StrCat("invalid grpc-timeout: ", timeout)}));
  }
  const GatewayCall::Target target{parts_.context, method, description->output_type(),
                                   parts_.observer, *deadline_ns};
  if (request.body_follows) {
    if (*deadline_ns <= parts_.context->clock->MonotonicNs())
      return reply(ErrorResponse(DeadlineStatus()));
    const auto call = std::make_shared<GatewayCall>(target, std::move(request), std::move(headers),
                                                    std::move(reply));
    return call->Converse(RequestStream(description->input_type(), parts_.message_bytes_max));
  }
  Requests requests = ReadRequests(request.body, *description, parts_.message_bytes_max);
  // Of a stream of requests the readable ones count; after them its client has ended, as in etcd.
  if (!requests.error.ok() && !description->client_streaming()) {
    return reply(ErrorResponse(requests.error));
  }
  if (*deadline_ns <= parts_.context->clock->MonotonicNs())
    return reply(ErrorResponse(DeadlineStatus()));
  request.body.clear();
  const auto call = std::make_shared<GatewayCall>(target, std::move(request), std::move(headers),
                                                  std::move(reply));
  call->Start(std::move(requests.messages));
}

}  // namespace quorate::server
