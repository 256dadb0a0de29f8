#include "server/profile_endpoint.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "base/clock.h"
#include "base/heap_sampler.h"
#include "base/text.h"
#include "server/http_texts.h"

namespace quorate::server {
namespace {

constexpr int64_t kProfileSecondsMax = 3600;

}  // namespace

void ServeProfile(CpuProfiler* profiler, const transport::HttpRequest& request,
                  std::function<void(transport::HttpResponse)> reply) {
  if (profiler == nullptr) return reply(NotFound());
  if (request.path == "/debug/pprof" || request.path == "/debug/pprof/") {
    return reply(Text(200,
                      "For go tool pprof or google-pprof:\n"
                      "heap                 memory in use, and taken since the start, sampled\n"
                      "profile?seconds=30   CPU time\n"));
  }
  if (request.path == "/debug/pprof/heap") {
    std::string heap = HeapSampler::Profile();
    return reply(heap.empty() ? NotFound() : Text(200, std::move(heap)));
  }
  if (request.path != "/debug/pprof/profile") return reply(NotFound());
  int64_t seconds = 30;  // as Go's
  for (const std::string& value : QueryValues(request.query, "seconds")) {
    if (!absl::SimpleAtoi(value, &seconds)) seconds = 0;
  }
  if (seconds <= 0 || seconds > kProfileSecondsMax) {
    return reply(Text(400, "seconds wants a whole number up to 3600\n"));
  }
  profiler->Profile(seconds * kNanosPerSecond, [reply](absl::StatusOr<std::string> profile) {
    if (!profile.ok()) {
      return reply(Text(500, StrCat(ToStd(profile.status().message()), "\n")));
    }
    reply({200, {{"Content-Type", "application/octet-stream"}}, *std::move(profile)});
  });
}

}  // namespace quorate::server
