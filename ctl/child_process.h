// Runs a program and waits for its end: what lock and watch do for their user.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace quorate::ctl {

struct ChildEnd {
  // 0: all went well. Else as etcdctl exits: the program's own code, 255 for a signal, 1 when it
  // could not be started.
  int exit_code = 0;
  std::string error;  // empty: none. "exit status 3", "signal: killed", or why it did not start
};

// `environment` is added to this program's own; a name that is there already is replaced. Standard
// streams are shared. Signals are as they were before SignalWatch.
ChildEnd RunChild(const std::vector<std::string>& words,
                  const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace quorate::ctl
