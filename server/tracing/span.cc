#include "server/tracing/span.h"

#include "proto/otlp.pb.h"

namespace quorate::server {
namespace {

using transport::RpcCode;

constexpr char kScopeName[] = "quorate/server";
// OTLP's span flags beside W3C's: that it is known whether the parent is remote, and that it is.
constexpr uint32_t kParentIsKnown = 0x100;
constexpr uint32_t kParentIsRemote = 0x200;

// The conventions have codes as the gRPC documents spell them.
std::string_view CodeText(RpcCode code) {
  static constexpr std::string_view kNames[] = {"OK",
                                                "CANCELLED",
                                                "UNKNOWN",
                                                "INVALID_ARGUMENT",
                                                "DEADLINE_EXCEEDED",
                                                "NOT_FOUND",
                                                "ALREADY_EXISTS",
                                                "PERMISSION_DENIED",
                                                "RESOURCE_EXHAUSTED",
                                                "FAILED_PRECONDITION",
                                                "ABORTED",
                                                "OUT_OF_RANGE",
                                                "UNIMPLEMENTED",
                                                "INTERNAL",
                                                "UNAVAILABLE",
                                                "DATA_LOSS",
                                                "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "UNKNOWN";
}

otlp::AnyValue* Value(std::string_view key,
                      google::protobuf::RepeatedPtrField<otlp::KeyValue>* attributes) {
  otlp::KeyValue* const attribute = attributes->Add();
  attribute->set_key(key.data(), key.size());
  return attribute->mutable_value();
}

void AddText(std::string_view key, std::string_view text,
             google::protobuf::RepeatedPtrField<otlp::KeyValue>* attributes) {
  Value(key, attributes)->set_string_value(text.data(), text.size());
}

void Encode(const SpanSource& source, const Span& span, otlp::Span* out) {
  const auto bytes = [](const auto& id) { return std::string(id.begin(), id.end()); };
  out->set_trace_id(bytes(span.context.trace_id));
  out->set_span_id(bytes(span.context.span_id));
  out->set_trace_state(span.trace_state);
  if (span.parent.has_value()) out->set_parent_span_id(bytes(*span.parent));
  out->set_flags(span.context.flags | kParentIsKnown |
                 (span.parent.has_value() ? kParentIsRemote : 0));
  out->set_name(span.name.data(), span.name.size());
  out->set_kind(otlp::Span::KIND_SERVER);
  out->set_start_time_unix_nano(static_cast<uint64_t>(span.start_ns));
  out->set_end_time_unix_nano(static_cast<uint64_t>(span.end_ns));
  auto* const attributes = out->mutable_attributes();
  AddText("rpc.system.name", "grpc", attributes);
  AddText("rpc.method", span.name, attributes);
  AddText("rpc.response.status_code", CodeText(span.code), attributes);
  if (!source.address.empty()) {
    AddText("server.address", source.address, attributes);
    Value("server.port", attributes)->set_int_value(source.port);
  }
  if (IsServerError(span.code)) {
    out->mutable_status()->set_code(otlp::Status::ERROR);
    out->mutable_status()->set_message(span.message);
  }
}

}  // namespace

bool IsServerError(RpcCode code) {
  switch (code) {
    case RpcCode::kUnknown:
    case RpcCode::kDeadlineExceeded:
    case RpcCode::kUnimplemented:
    case RpcCode::kInternal:
    case RpcCode::kUnavailable:
    case RpcCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

Bytes EncodeSpans(const SpanSource& source, std::span<const Span> spans) {
  otlp::ExportTraceServiceRequest request;
  otlp::ResourceSpans* const all = request.add_resource_spans();
  auto* const attributes = all->mutable_resource()->mutable_attributes();
  if (!source.instance_id.empty()) AddText("service.instance.id", source.instance_id, attributes);
  AddText("service.name", source.service_name, attributes);
  otlp::ScopeSpans* const scope = all->add_scope_spans();
  scope->mutable_scope()->set_name(kScopeName);
  scope->mutable_scope()->set_version(source.version);
  for (const Span& span : spans) Encode(source, span, scope->add_spans());
  return Bytes::FromString(request.SerializeAsString());
}

}  // namespace quorate::server
