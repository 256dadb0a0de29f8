#include "server/stop_signals.h"

#include <unistd.h>

namespace quorate::server {

sigset_t StopSignals(std::initializer_list<int> more) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT}) sigaddset(&set, signal);
  for (const int signal : more) sigaddset(&set, signal);
  return set;
}

void EndBySignal(int signal) {
  if (getpid() == 1) _exit(0);
  ::signal(signal, SIG_DFL);
  const sigset_t set = StopSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(signal);
  _exit(128 + signal);
}

void EndIfStopIsAsked() {
  sigset_t pending;
  sigpending(&pending);
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT}) {
    if (sigismember(&pending, signal) == 1) EndBySignal(signal);
  }
}

}  // namespace quorate::server
