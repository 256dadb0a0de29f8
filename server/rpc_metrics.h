// RpcMetrics: calls counted per method, as grpc_server_* metrics under the names that etcd's have.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/histogram.h"
#include "server/metrics_text.h"
#include "transport/rpc.h"

namespace quorate::server {

// grpc_server_* per method. The table must be complete when this is made. Any thread.
class RpcMetrics final : public transport::RpcObserver {
 public:
  explicit RpcMetrics(const transport::ServiceTable& table);

  std::unique_ptr<transport::RpcTrace> Started(const transport::Method& method,
                                               const transport::ServerCall& call) override;
  void MessageReceived(const transport::Method& method, size_t bytes) override;
  void MessageSent(const transport::Method& method, size_t bytes) override;
  void Handled(const transport::Method& method, const transport::RpcOutcome& outcome,
               std::unique_ptr<transport::RpcTrace> trace) override;

  enum class Detail { kBasic, kExtensive };
  void Write(Detail detail, MetricsText* out) const;
  // What etcd measures by itself and is one call here: hashes and defragmentation.
  void WriteMaintenance(MetricsText* out) const;

 private:
  static constexpr size_t kCodes = 17;
  struct PerMethod {
    std::string service, name, kind;
    std::atomic<uint64_t> started{0}, received{0}, sent{0};
    std::array<std::atomic<uint64_t>, kCodes> handled{};
    ConcurrentHistogram took;
  };
  PerMethod& Of(const transport::Method& method);
  const PerMethod& Maintenance(std::string_view name) const;

  std::vector<std::unique_ptr<PerMethod>> methods_;
  absl::flat_hash_map<const transport::Method*, PerMethod*> by_method_;
  std::atomic<uint64_t> bytes_received_{0}, bytes_sent_{0};
};

}  // namespace quorate::server
