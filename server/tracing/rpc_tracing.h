// RpcTracing: records calls as spans, beside counting them. In the transport's way only where
// --enable-distributed-tracing asks for it. Any thread.
#pragma once

#include <memory>

#include "base/clock.h"
#include "server/tracing/span_exporter.h"
#include "server/tracing/trace_context.h"
#include "transport/rpc.h"

namespace quorate::server {

class RpcTracing final : public transport::RpcObserver {
 public:
  // Whose other probes are told as well; all outlive this.
  RpcTracing(Sampler sampler, const Clock* clock, transport::RpcObserver* others,
             SpanExporter* exporter)
      : sampler_(sampler), clock_(clock), others_(others), exporter_(exporter) {}

  std::unique_ptr<transport::RpcTrace> Started(const transport::Method& method,
                                               const transport::ServerCall& call) override;
  void MessageReceived(const transport::Method& method, size_t bytes) override {
    others_->MessageReceived(method, bytes);
  }
  void MessageSent(const transport::Method& method, size_t bytes) override {
    others_->MessageSent(method, bytes);
  }
  void Handled(const transport::Method& method, const transport::RpcOutcome& outcome,
               std::unique_ptr<transport::RpcTrace> trace) override;

 private:
  const Sampler sampler_;
  const Clock* const clock_;
  transport::RpcObserver* const others_;
  SpanExporter* const exporter_;
};

}  // namespace quorate::server
