#include "transport/server.h"

#include <array>
#include <utility>

#include "transport/grpc_server.h"
#include "transport/native_server.h"

namespace quorate::transport {
namespace {

constexpr std::array<ServerTransportRow, 2> kRegistry = {{
    {"native", "nghttp2 and HTTP/1.1 on our own event loops", CreateNativeServer},
    {"grpc", "grpc++ (gRPC only, no HTTP/1.1)", CreateGrpcServer},
}};

}  // namespace

std::optional<std::string_view> HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::span<const ServerTransportRow> ServerTransportRegistry() { return kRegistry; }

absl::StatusOr<std::unique_ptr<ServerTransport>> CreateServerTransport(std::string_view name,
                                                                       const ServerOptions& options,
                                                                       const ServiceTable* services,
                                                                       HttpHandler http) {
  std::string known;
  for (const ServerTransportRow& row : kRegistry) {
    if (row.name == name) return row.create(options, services, std::move(http));
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  return absl::InvalidArgumentError("unknown transport \"" + std::string(name) +
                                    "\"; known: " + known);
}

}  // namespace quorate::transport
