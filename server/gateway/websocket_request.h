// What etcd's websocket proxy makes of a request for a websocket before the gateway sees it.
#pragma once

#include "transport/server.h"

namespace quorate::server {

// A POST to the same path whose body follows. Of its fields Origin and Referer go on, and a token:
// from the subprotocols "Bearer, TOKEN" (browsers can set no other field) or the cookie `token`.
transport::HttpRequest WebSocketRequest(transport::HttpRequest upgrade);

}  // namespace quorate::server
