#include "server/tracing/rpc_tracing.h"

#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "base/random.h"

namespace quorate::server {
namespace {

// A call that is recorded.
struct Trace final : transport::RpcTrace {
  Span span;
};

// Ids need not be secret, but differ between members and their lives.
uint64_t Draw() {
  thread_local Random random([] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }());
  for (;;) {
    if (const uint64_t number = random.Next(); number != 0) return number;  // 0 is no id
  }
}

template <class Id>
Id NewId() {
  Id id;
  for (size_t i = 0; i < id.size(); i += sizeof(uint64_t)) {
    const uint64_t number = Draw();
    std::memcpy(id.data() + i, &number, sizeof(number));
  }
  return id;
}

}  // namespace

std::unique_ptr<transport::RpcTrace> RpcTracing::Started(const transport::Method& method,
                                                         const transport::ServerCall& call) {
  others_->Started(method, call);
  std::optional<TraceContext> parent;
  if (const auto field = call.Metadata("traceparent"); field.has_value()) {
    parent = ParseTraceparent(*field);
  }
  TraceId trace_id;
  if (parent.has_value()) {
    if (!parent->sampled()) return nullptr;
    trace_id = parent->trace_id;
  } else {
    if (!sampler_.may_begin()) return nullptr;
    trace_id = NewId<TraceId>();
    if (!sampler_.Records(trace_id)) return nullptr;
  }
  auto trace = std::make_unique<Trace>();
  Span& span = trace->span;
  span.context = {trace_id, NewId<SpanId>(), 1};
  if (parent.has_value()) {
    span.parent = parent->span_id;
    std::optional<std::string> state = call.Metadata("tracestate");
    if (state.has_value() && IsTracestate(*state)) span.trace_state = *std::move(state);
  }
  span.name = std::string_view(method.path).substr(1);
  span.start_ns = clock_->WallNs();
  return trace;
}

void RpcTracing::Handled(const transport::Method& method, const transport::RpcOutcome& outcome,
                         std::unique_ptr<transport::RpcTrace> trace) {
  others_->Handled(method, outcome, nullptr);
  if (trace == nullptr) return;
  Span& span = static_cast<Trace*>(trace.get())->span;
  // Steps of the wall clock do not change how long a call took.
  span.end_ns = span.start_ns + outcome.took_ns;
  span.code = outcome.code;
  if (IsServerError(outcome.code)) span.message = std::string(outcome.message);
  exporter_->Add(std::move(span));
}

}  // namespace quorate::server
