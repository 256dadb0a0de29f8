// `quorate gateway start`: a TCP proxy in front of a cluster, with the flags of `etcd gateway`.
#pragma once

#include <string>
#include <vector>

namespace quorate::server {

// `args` are the words behind "gateway". Serves until a signal ends the process; answers the exit
// status when it cannot.
int RunGatewayCommand(const std::vector<std::string>& args);

}  // namespace quorate::server
