// Looks through the files of a log without changing them and tells everything that is wrong, where
// opening the log stops at the first: for inspectors. Layout: docs/formats/log.md.
// Any thread, on a log that nobody writes.
#pragma once

#include <string>
#include <vector>

#include "backends/log/log_store.h"

namespace quorate::log {

struct LogReport {
  uint64_t segments = 0;
  uint64_t records = 0;               // intact ones
  std::vector<std::string> problems;  // "<file>: offset <n>: <what>", a line each
  std::vector<std::string> notes;     // the same form: what a crash leaves and is no damage
};
// kNotFound when there is no log; otherwise whatever could not be read is among the problems.
absl::StatusOr<LogReport> VerifyLog(const LogOptions& options);

}  // namespace quorate::log
