// What a durable write costs on a disk: append records of a size and make each durable with
// fdatasync, once to a file that grows and once to one whose blocks are written before. The ground
// that put latencies are compared with.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/file_env.h"
#include "base/histogram.h"

namespace quorate::workload {

struct DiskProbe {
  Histogram growing;       // each write makes the file longer
  Histogram preallocated;  // each write overwrites zeros that were synced before
};

// Writes `count` records of `bytes` to a temporary file in `dir` (removed at the end) per variant.
absl::StatusOr<DiskProbe> ProbeDisk(FileEnv* env, const Clock* clock, const std::string& dir,
                                    int64_t bytes, int64_t count);

std::string DiskProbeJson(const DiskProbe& probe, const std::string& dir, int64_t bytes);

}  // namespace quorate::workload
