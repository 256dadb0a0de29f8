// Logging in etcd's shape: one JSON object a line with level, ts (UTC, microseconds), logger
// (named ones only), caller ("dir/file.cc:12"), msg and own fields; or tab-separated console text.
// See wire facts: supervisors and harnesses match on msg substrings and parse every line as JSON,
// so nothing may be printed beside this logger.
// Any thread; a line is written with one write call.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/log_sink.h"

namespace quorate {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kDpanic, kPanic, kFatal };

// One field; the value is already JSON.
struct LogField {
  LogField(std::string_view name, std::string_view value);
  LogField(std::string_view name, const char* value);
  LogField(std::string_view name, const std::string& value);
  LogField(std::string_view name, int value);
  LogField(std::string_view name, unsigned value);
  LogField(std::string_view name, int64_t value);
  LogField(std::string_view name, uint64_t value);
  LogField(std::string_view name, double value);
  LogField(std::string_view name, bool value);
  LogField(std::string_view name, const std::vector<std::string>& value);
  LogField(const absl::Status& status);  // NOLINT: "error": text
  static LogField Json(std::string_view name, std::string json);

  std::string name;
  std::string json;

 private:
  LogField() = default;
};

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  enum class Format { kJson, kConsole } format = Format::kJson;
  // "default" and "stderr" = standard error, "stdout", "systemd/journal" (standard error where
  // there is none), else file paths (appended to).
  std::vector<std::string> outputs = {"default"};
  std::optional<LogRotation> rotation;  // of files
};

// kInvalidArgument naming the level when unknown; debug, info, warn, error, panic, fatal.
absl::Status ParseLogLevel(std::string_view text, LogLevel* level);

// Replaces the process-wide configuration. Call before threads start.
absl::Status ConfigureLog(const LogConfig& config);
bool LogEnabled(LogLevel level);

// `logger` is empty for the main one, or "raft" and so on. kFatal writes and exits with status 1,
// kPanic with status 2; no destructors run then.
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {},
         std::string_view logger = {},
         std::source_location where = std::source_location::current());

inline void LogDebug(std::string_view message, std::initializer_list<LogField> fields = {},
                     std::source_location where = std::source_location::current()) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, message, fields, {}, where);
}
inline void LogInfo(std::string_view message, std::initializer_list<LogField> fields = {},
                    std::source_location where = std::source_location::current()) {
  Log(LogLevel::kInfo, message, fields, {}, where);
}
inline void LogWarn(std::string_view message, std::initializer_list<LogField> fields = {},
                    std::source_location where = std::source_location::current()) {
  Log(LogLevel::kWarn, message, fields, {}, where);
}
inline void LogError(std::string_view message, std::initializer_list<LogField> fields = {},
                     std::source_location where = std::source_location::current()) {
  Log(LogLevel::kError, message, fields, {}, where);
}

}  // namespace quorate
