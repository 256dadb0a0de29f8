// CpuProfiler: where the process spends its CPU time, for `go tool pprof` and google-pprof, as etcd
// gives it under /debug/pprof/profile. The sampling is gperftools' (libprofiler), loaded when
// --enable-pprof asks for it, so that nobody else needs the library.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace quorate::server {

class CpuProfiler {
 public:
  // kFailedPrecondition with the package that is missing.
  static absl::StatusOr<std::unique_ptr<CpuProfiler>> Load();
  ~CpuProfiler() { Stop(); }

  using Done = std::function<void(absl::StatusOr<std::string> profile)>;
  // Samples for so long, then calls `done` once, on a thread of its own. kUnavailable at once while
  // another profile is made.
  void Profile(int64_t duration_ns, Done done);
  // Ends a profile that is being made; its `done` has been called.
  void Stop();

 private:
  struct Library {
    int (*start)(const char* path) = nullptr;
    void (*stop)() = nullptr;
  };
  explicit CpuProfiler(const Library& library) : library_(library) {}
  absl::StatusOr<std::string> Sample(int64_t duration_ns);

  const Library library_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace quorate::server
