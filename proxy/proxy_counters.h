// What /proxy/metrics tells of the proxy itself, under etcd's names. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace quorate::proxy {

struct ProxyCounters {
  std::atomic<uint64_t> cache_hits{0};
  std::atomic<uint64_t> cache_misses{0};
  std::atomic<uint64_t> cache_keys{0};          // now
  std::atomic<uint64_t> events_coalescing{0};   // responses that a member did not have to send
  std::atomic<int64_t> watchers_coalescing{0};  // now: watches that share another one's
};

}  // namespace quorate::proxy
