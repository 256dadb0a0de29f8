// One recorded call, and its encoding for a collector (proto/otlp.proto). Span names, kinds and
// attributes are those of the gRPC instrumentation that etcd 3.7 has (OpenTelemetry's semantic
// conventions for RPC).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "server/tracing/trace_context.h"
#include "transport/rpc.h"

namespace quorate::server {

struct Span {
  TraceContext context;          // its own; the trace may have begun elsewhere
  std::optional<SpanId> parent;  // in another process; unset: the trace begins here
  std::string trace_state;
  std::string_view name;  // "etcdserverpb.KV/Put"; outlives the span
  int64_t start_ns = 0;   // wall clock, as is ...
  int64_t end_ns = 0;
  transport::RpcCode code = transport::RpcCode::kOk;
  std::string message;  // of the server's own failures
};

// The server that the spans are of.
struct SpanSource {
  std::string service_name;
  std::string instance_id;  // empty: not told
  std::string version;
  std::string address;  // where clients reach it; empty: not told
  uint16_t port = 0;
};

// Failures that are the server's and not its caller's: only they mark a span as failed.
bool IsServerError(transport::RpcCode code);

// An ExportTraceServiceRequest.
Bytes EncodeSpans(const SpanSource& source, std::span<const Span> spans);

}  // namespace quorate::server
