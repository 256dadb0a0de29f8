// Which path of the gateway is which method of the API: etcd's own table.
#pragma once

#include <span>
#include <string_view>

namespace quorate::server {

struct GatewayRoute {
  std::string_view path;    // "/v3/kv/range"
  std::string_view method;  // "/etcdserverpb.KV/Range"
};

std::span<const GatewayRoute> GatewayRoutes();
// Null when there is none.
const GatewayRoute* FindGatewayRoute(std::string_view path);

}  // namespace quorate::server
