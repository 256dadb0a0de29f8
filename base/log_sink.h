// Where lines of the log go: a descriptor, a file that is replaced when it has grown, the journal
// of systemd. Used by base/log.cc, under its lock.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace quorate {

// Of a log file (etcd's --log-rotation-config-json). A full file is renamed to
// NAME-2026-01-31T23-59-59.000.EXT beside it.
struct LogRotation {
  uint64_t bytes_max = 100 << 20;  // of the file that is written to
  uint32_t age_days_max = 0;       // of those that were full; 0 = they are kept
  uint32_t backups_max = 0;        // 0 = all are kept
  bool local_time = false;         // in the names, instead of UTC
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // One line with its end. `priority` is syslog's (3 error, 4 warning, 6 info, 7 debug). What
  // cannot be written is lost: there is nowhere left to complain.
  virtual void Write(int priority, std::string_view line) = 0;
};

// Does not close it.
std::unique_ptr<LogSink> MakeDescriptorSink(int fd);
// Appends to `path`. kNotFound, kPermissionDenied and so on name the path.
absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path);
// `clock` outlives the sink.
absl::StatusOr<std::unique_ptr<LogSink>> OpenRotatingSink(const std::string& path,
                                                          const LogRotation& rotation,
                                                          const Clock* clock);
// systemd's native protocol at `socket_path`. kUnavailable where nobody listens.
absl::StatusOr<std::unique_ptr<LogSink>> OpenJournalSink(const std::string& socket_path);

}  // namespace quorate
