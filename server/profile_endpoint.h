// /debug/pprof/ of --enable-pprof: CPU profiles, and those of the heap where it is sampled
// (base/heap_sampler.h), for `go tool pprof` and google-pprof.
#pragma once

#include <functional>

#include "server/cpu_profiler.h"
#include "transport/server.h"

namespace quorate::server {

// `profiler` is null where profiles are not asked for: nothing is found then. It outlives the
// answer.
void ServeProfile(CpuProfiler* profiler, const transport::HttpRequest& request,
                  std::function<void(transport::HttpResponse)> reply);

}  // namespace quorate::server
