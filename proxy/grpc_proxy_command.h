// `quorate grpc-proxy start`: a gRPC proxy in front of a cluster, with the flags of `etcd
// grpc-proxy`.
#pragma once

#include <string>
#include <vector>

namespace quorate::proxy {

// `args` are the words behind "grpc-proxy". Serves until a signal ends the process; answers the
// exit status when it cannot.
int RunGrpcProxyCommand(const std::vector<std::string>& args);

}  // namespace quorate::proxy
