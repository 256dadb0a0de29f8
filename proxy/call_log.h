// CallLog: counts calls as RpcMetrics and logs each when it has ended
// (--experimental-enable-grpc-logging). Any thread.
#pragma once

#include "base/log.h"
#include "base/options.h"
#include "server/rpc_metrics.h"
#include "transport/rpc.h"

namespace quorate::proxy {

class CallLog final : public transport::RpcObserver {
 public:
  explicit CallLog(server::RpcMetrics* metrics) : metrics_(metrics) {}

  void Started(const transport::Method& method) override { metrics_->Started(method); }
  void MessageReceived(const transport::Method& method, size_t bytes) override {
    metrics_->MessageReceived(method, bytes);
  }
  void MessageSent(const transport::Method& method, size_t bytes) override {
    metrics_->MessageSent(method, bytes);
  }
  void Handled(const transport::Method& method, transport::RpcCode code, int64_t took_ns) override {
    metrics_->Handled(method, code, took_ns);
    LogInfo("call ended", {{"method", method.path},
                           {"code", static_cast<int>(code)},
                           {"took", FormatGoDuration(took_ns)}});
  }

 private:
  server::RpcMetrics* const metrics_;
};

}  // namespace quorate::proxy
