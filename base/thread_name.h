// Names the calling thread, so that profiles and per-thread CPU figures say who did the work.
#pragma once

#include <pthread.h>

namespace quorate {

// At most 15 characters are kept by the system.
inline void SetThreadName(const char* name) { pthread_setname_np(pthread_self(), name); }

}  // namespace quorate
