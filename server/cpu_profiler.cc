#include "server/cpu_profiler.h"

#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/thread_name.h"

namespace quorate::server {
namespace {

constexpr char kLibrary[] = "libprofiler.so.0";

}  // namespace

absl::StatusOr<std::unique_ptr<CpuProfiler>> CpuProfiler::Load() {
  void* const handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  Library library;
  if (handle != nullptr) {
    library.start = reinterpret_cast<int (*)(const char*)>(dlsym(handle, "ProfilerStart"));
    library.stop = reinterpret_cast<void (*)()>(dlsym(handle, "ProfilerStop"));
  }
  if (library.start == nullptr || library.stop == nullptr) {
    return absl::FailedPreconditionError(
        "--enable-pprof: needs gperftools' libprofiler.so.0 (Debian package libgoogle-perftools4)");
  }
  return std::unique_ptr<CpuProfiler>(new CpuProfiler(library));
}

void CpuProfiler::Profile(int64_t duration_ns, Done done) {
  std::unique_lock lock(mutex_);
  if (busy_ || stopping_) {
    lock.unlock();
    return done(absl::UnavailableError("a CPU profile is already being made"));
  }
  if (thread_.joinable()) thread_.join();  // it ended, or it would be busy
  busy_ = true;
  thread_ = std::thread([this, duration_ns, done = std::move(done)] {
    SetThreadName("profiler");
    done(Sample(duration_ns));
    std::lock_guard ended(mutex_);
    busy_ = false;
  });
}

absl::StatusOr<std::string> CpuProfiler::Sample(int64_t duration_ns) {
  std::string path = "/tmp/quorate-profile.XXXXXX";
  const int fd = ::mkstemp(path.data());
  if (fd < 0) return absl::ErrnoToStatus(errno, "make a file in /tmp for the profile");
  ::close(fd);
  absl::StatusOr<std::string> profile = absl::InternalError("the profiler does not start");
  if (library_.start(path.c_str()) != 0) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::nanoseconds(duration_ns), [this] { return stopping_; });
    }
    library_.stop();
    std::ifstream file(path, std::ios::binary);
    profile = std::string(std::istreambuf_iterator<char>(file), {});
  }
  ::unlink(path.c_str());
  return profile;
}

void CpuProfiler::Stop() {
  std::thread ending;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    ending = std::move(thread_);
  }
  wake_.notify_all();
  if (ending.joinable()) ending.join();
}

}  // namespace quorate::server
