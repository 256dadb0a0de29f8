// CallLog: counts calls as RpcMetrics and logs each when it has ended
// (--experimental-enable-grpc-logging). Any thread.
#pragma once

#include <memory>
#include <utility>

#include "base/log.h"
#include "base/options.h"
#include "server/rpc_metrics.h"
#include "transport/rpc.h"

namespace quorate::proxy {

class CallLog final : public transport::RpcObserver {
 public:
  explicit CallLog(server::RpcMetrics* metrics) : metrics_(metrics) {}

  std::unique_ptr<transport::RpcTrace> Started(const transport::Method& method,
                                               const transport::ServerCall& call) override {
    return metrics_->Started(method, call);
  }
  void MessageReceived(const transport::Method& method, size_t bytes) override {
    metrics_->MessageReceived(method, bytes);
  }
  void MessageSent(const transport::Method& method, size_t bytes) override {
    metrics_->MessageSent(method, bytes);
  }
  void Handled(const transport::Method& method, const transport::RpcOutcome& outcome,
               std::unique_ptr<transport::RpcTrace> trace) override {
    metrics_->Handled(method, outcome, std::move(trace));
    LogInfo("call ended", {{"method", method.path},
                           {"code", static_cast<int>(outcome.code)},
                           {"took", FormatGoDuration(outcome.took_ns)}});
  }

 private:
  server::RpcMetrics* const metrics_;
};

}  // namespace quorate::proxy
