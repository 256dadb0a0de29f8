// The alternative server transport: the same services through grpc++, for experiments that compare
// front ends. gRPC only; no HTTP/1.1 on its ports.
// Differences that grpc++ forces: a MessageSource is pulled whole before it is sent, because a
// write takes one whole message (so a large answer occupies its full size here, and the memory
// figures of this row say so); answers are not compressed; connections and bytes are not counted.
// The thread sanitizer says nothing of this row: Debian's libgrpc is not built for it, so it sees
// none of the locks through which calls come. Its tests run plain and under the address sanitizer.
#pragma once

#include <memory>

#include "transport/server.h"

namespace quorate::transport {

std::unique_ptr<ServerTransport> CreateGrpcServer(const ServerOptions& options,
                                                  const ServiceTable* services, HttpHandler http);

}  // namespace quorate::transport
