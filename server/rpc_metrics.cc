#include "server/rpc_metrics.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/text.h"

namespace quorate::server {
namespace {

using Type = MetricsText::Type;

constexpr const char* kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

constexpr auto kHashBounds = Doubling<15>(0.01);
constexpr auto kDefragBounds = Doubling<13>(0.1);
constexpr double kHandlingBounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
constexpr double kSecond = 1e9;

double Load(const std::atomic<uint64_t>& value) {
  return static_cast<double>(value.load(std::memory_order_relaxed));
}

}  // namespace

RpcMetrics::RpcMetrics(const transport::ServiceTable& table) {
  for (const auto& method : table.methods()) {
    auto counted = std::make_unique<PerMethod>();
    const std::vector<std::string_view> parts = StrSplit(method->path, '/');
    counted->service = parts.at(1);
    counted->name = parts.at(2);
    using Kind = transport::Method::Kind;
    counted->kind = method->kind == Kind::kUnary          ? "unary"
                    : method->kind == Kind::kServerStream ? "server_stream"
                                                          : "bidi_stream";
    by_method_[method.get()] = counted.get();
    methods_.push_back(std::move(counted));
  }
}

RpcMetrics::PerMethod& RpcMetrics::Of(const transport::Method& method) {
  const auto found = by_method_.find(&method);
  QR_CHECK(found != by_method_.end());
  return *found->second;
}

std::unique_ptr<transport::RpcTrace> RpcMetrics::Started(const transport::Method& method,
                                                         const transport::ServerCall&) {
  Of(method).started.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

void RpcMetrics::MessageReceived(const transport::Method& method, size_t bytes) {
  Of(method).received.fetch_add(1, std::memory_order_relaxed);
  bytes_received_.fetch_add(bytes, std::memory_order_relaxed);
}

void RpcMetrics::MessageSent(const transport::Method& method, size_t bytes) {
  Of(method).sent.fetch_add(1, std::memory_order_relaxed);
  bytes_sent_.fetch_add(bytes, std::memory_order_relaxed);
}

void RpcMetrics::Handled(const transport::Method& method, const transport::RpcOutcome& outcome,
                         std::unique_ptr<transport::RpcTrace>) {
  PerMethod& counted = Of(method);
  const size_t index = static_cast<size_t>(outcome.code);
  counted.handled[index < kCodes ? index : 2].fetch_add(1, std::memory_order_relaxed);
  counted.took.Add(outcome.took_ns);
}

void RpcMetrics::Write(Detail detail, MetricsText* out) const {
  const auto labelled = [&](const char* name, const char* help, auto value) {
    out->Family(name, Type::kCounter, help);
    for (const auto& method : methods_) {
      out->Sample({{"grpc_method", method->name},
                   {"grpc_service", method->service},
                   {"grpc_type", method->kind}},
                  Load(value(*method)));
    }
  };
  using M = PerMethod;
  labelled("grpc_server_started_total", "Calls started.",
           [](const M& m) -> const std::atomic<uint64_t>& { return m.started; });
  labelled("grpc_server_msg_received_total", "Messages received.",
           [](const M& m) -> const std::atomic<uint64_t>& { return m.received; });
  labelled("grpc_server_msg_sent_total", "Messages sent.",
           [](const M& m) -> const std::atomic<uint64_t>& { return m.sent; });
  out->Family("grpc_server_handled_total", Type::kCounter, "Calls ended, by code.");
  for (const auto& method : methods_) {
    for (size_t code = 0; code < kCodes; ++code) {
      out->Sample({{"grpc_code", kCodeNames[code]},
                   {"grpc_method", method->name},
                   {"grpc_service", method->service},
                   {"grpc_type", method->kind}},
                  Load(method->handled[code]));
    }
  }
  if (detail == Detail::kExtensive) {
    out->Family("grpc_server_handling_seconds", Type::kHistogram, "How long calls took.");
    for (const auto& method : methods_) {
      out->HistogramSample({{"grpc_method", method->name},
                            {"grpc_service", method->service},
                            {"grpc_type", method->kind}},
                           method->took.Snapshot(), kHandlingBounds, kSecond);
    }
  }
  out->Counter("etcd_network_client_grpc_received_bytes_total", "Message bytes received.",
               Load(bytes_received_));
  out->Counter("etcd_network_client_grpc_sent_bytes_total", "Message bytes sent.",
               Load(bytes_sent_));
}

const RpcMetrics::PerMethod& RpcMetrics::Maintenance(std::string_view name) const {
  const auto at = std::find_if(methods_.begin(), methods_.end(), [&](const auto& method) {
    return method->service == "etcdserverpb.Maintenance" && method->name == name;
  });
  QR_CHECK(at != methods_.end());
  return **at;
}

void RpcMetrics::WriteMaintenance(MetricsText* out) const {
  const auto times = [&](const char* name, const char* help, std::string_view method,
                         std::span<const double> bounds) {
    out->Family(name, Type::kHistogram, help);
    out->HistogramSample({}, Maintenance(method).took.Snapshot(), bounds, kSecond);
  };
  times("etcd_mvcc_hash_duration_seconds", "Hashes of the whole store.", "Hash", kHashBounds);
  times("etcd_mvcc_hash_rev_duration_seconds", "Hashes at a revision.", "HashKV", kHashBounds);
  times("etcd_disk_backend_defrag_duration_seconds", "Defragmentations.", "Defragment",
        kDefragBounds);
  const PerMethod& defragment = Maintenance("Defragment");
  double handled = 0;
  for (const auto& count : defragment.handled) handled += Load(count);
  out->Gauge("etcd_disk_defrag_inflight", "Defragmentations under way.",
             std::max(0.0, Load(defragment.started) - handled));
}

}  // namespace quorate::server
