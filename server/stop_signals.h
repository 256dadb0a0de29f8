// How the program's servers end: signals are taken by one thread that waits for them, and everybody
// else has them blocked.
#pragma once

#include <signal.h>

#include <initializer_list>

namespace quorate::server {

// SIGINT, SIGTERM, SIGQUIT and those given: to be blocked before threads start, and waited for.
sigset_t StopSignals(std::initializer_list<int> more = {});

// As etcd: after a graceful stop the process ends by the signal it got (status 143 or 130), but pid
// 1 just exits.
[[noreturn]] void EndBySignal(int signal);

// For what waits long before the one that takes signals does: ends the process as above when one of
// them is pending.
void EndIfStopIsAsked();

}  // namespace quorate::server
