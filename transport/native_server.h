// The native server transport: nghttp2 and HTTP/1.1 on our own event loops, any number of threads.
#pragma once

#include <memory>

#include "transport/server.h"

namespace quorate::transport {

std::unique_ptr<ServerTransport> CreateNativeServer(const ServerOptions& options,
                                                    const ServiceTable* services, HttpHandler http);

}  // namespace quorate::transport
