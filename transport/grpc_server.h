// The alternative server transport: the same services through grpc++, for experiments that compare
// front ends. gRPC only; no HTTP/1.1 on its ports.
// Differences that grpc++ forces: a MessageSource is pulled whole before it is sent, answers are
// not compressed, and connections and bytes are not counted.
#pragma once

#include <memory>

#include "transport/server.h"

namespace quorate::transport {

std::unique_ptr<ServerTransport> CreateGrpcServer(const ServerOptions& options,
                                                  const ServiceTable* services, HttpHandler http);

}  // namespace quorate::transport
