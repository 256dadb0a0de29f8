#include "server/gateway/gateway.h"

#include "base/text.h"
#include "google/protobuf/descriptor.h"
#include "server/gateway/gateway_call.h"
#include "server/gateway/json_reader.h"
#include "server/gateway/json_writer.h"
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
    const auto message = NewMessage(*method.input_type());
    const absl::Status status = reader.AtEnd() ? absl::OkStatus() : reader.Next(message.get());
    if (!status.ok()) {
      read.error = {RpcCode::kInvalidArgument, std::string(status.message())};
      break;
    }
    const size_t bytes = message->ByteSizeLong();
    if (bytes > message_bytes_max) {
      read.error = {RpcCode::kResourceExhausted, StrCat("grpc: received message larger than max (",
                                                        bytes, " vs. ", message_bytes_max, ")")};
      break;
    }
    read.messages.push_back(Bytes::FromString(message->SerializeAsString()));
  } while (method.client_streaming());
  return read;
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
  Requests requests = ReadRequests(request.body, *description, parts_.message_bytes_max);
  // Of a stream of requests the readable ones count; after them its client has ended, as in etcd.
  if (!requests.error.ok() && !description->client_streaming()) {
    return reply(ErrorResponse(requests.error));
  }
  request.body.clear();
  const auto call = std::make_shared<GatewayCall>(
      GatewayCall::Target{parts_.context, method, description->output_type(), parts_.observer},
      std::move(request), std::move(headers), std::move(reply));
  call->Start(std::move(requests.messages));
}

}  // namespace quorate::server
