// Where a call stands among the calls that led to it, and whether it is recorded.
// Source: W3C Trace Context (level 1) for the header fields; the OpenTelemetry SDK specification
// for the samplers, so that a trace is kept by all who take part in it or by none. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quorate::server {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

struct TraceContext {
  TraceId trace_id{};
  SpanId span_id{};
  uint8_t flags = 0;  // W3C's
  bool sampled() const { return (flags & 1) != 0; }
};

// The value of a `traceparent` field; nullopt for one that the specification says to ignore.
std::optional<TraceContext> ParseTraceparent(std::string_view value);

// A `tracestate` that may be passed on: at most 512 bytes of printable ASCII, in key=value members.
bool IsTracestate(std::string_view value);

// ParentBased(TraceIDRatioBased(spans_per_million / 10^6)): the caller's decision counts where
// there is one; a trace that begins here is recorded by its id.
class Sampler {
 public:
  static constexpr int64_t kAll = 1'000'000;

  explicit Sampler(int64_t spans_per_million);  // 0 to kAll
  // Whether a trace that begins here may be recorded at all.
  bool may_begin() const { return bound_ > 0; }
  bool Records(const TraceId& begun_here) const;

 private:
  const uint64_t bound_;  // of 2^63
};

}  // namespace quorate::server
