#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <utility>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/text.h"

namespace quorate {
namespace {

constexpr std::string_view kLevelNames[] = {"debug",  "info",  "warn", "error",
                                            "dpanic", "panic", "fatal"};

std::string_view LevelName(LogLevel level) { return kLevelNames[static_cast<size_t>(level)]; }

struct Logger {
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::mutex mutex;  // guards the rest
  LogConfig::Format format = LogConfig::Format::kJson;
  std::vector<std::unique_ptr<LogSink>> sinks;
  Logger() { sinks.push_back(MakeDescriptorSink(STDERR_FILENO)); }
};

// Never destroyed: other static objects may log while the program ends.
Logger& TheLogger() {
  static auto* logger = new Logger;
  return *logger;
}

void AppendTimestamp(std::string* out) {
  const int64_t wall_ns = SystemClock().WallNs();
  const time_t seconds = wall_ns / kNanosPerSecond;
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[64];
  const int size =
      snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900,
               parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
               static_cast<int>(wall_ns % kNanosPerSecond / kNanosPerMicro));
  out->append(text, static_cast<size_t>(size));
}

std::string Caller(const std::source_location& where) {
  std::string_view file = where.file_name();
  size_t slash = file.rfind('/');
  if (slash != std::string_view::npos && slash > 0) slash = file.rfind('/', slash - 1);
  if (slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return StrCat(file, ":", where.line());
}

void AppendFields(std::initializer_list<LogField> fields, std::string_view between,
                  std::string_view after_name, std::string* out) {
  bool first = true;
  for (const LogField& field : fields) {
    if (!first) out->append(between);
    first = false;
    AppendJsonString(field.name, out);
    out->append(after_name);
    out->append(field.json);
  }
}

std::string JsonLine(LogLevel level, std::string_view message,
                     std::initializer_list<LogField> fields, std::string_view logger,
                     const std::source_location& where) {
  std::string line = StrCat("{\"level\":\"", LevelName(level), "\",\"ts\":\"");
  AppendTimestamp(&line);
  line += '"';
  if (!logger.empty()) {
    line += ",\"logger\":";
    AppendJsonString(logger, &line);
  }
  line += ",\"caller\":";
  AppendJsonString(Caller(where), &line);
  line += ",\"msg\":";
  AppendJsonString(message, &line);
  if (fields.size() != 0) line += ',';
  AppendFields(fields, ",", ":", &line);
  line += "}\n";
  return line;
}

std::string ConsoleLine(LogLevel level, std::string_view message,
                        std::initializer_list<LogField> fields, std::string_view logger,
                        const std::source_location& where) {
  std::string line;
  AppendTimestamp(&line);
  StrAppend(&line, "\t", LevelName(level), "\t");
  if (!logger.empty()) StrAppend(&line, logger, "\t");
  StrAppend(&line, Caller(where), "\t");
  for (const char c : message) {
    // Whatever a client put into a message, it stays on one line.
    line += c == '\n' || c == '\r' ? ' ' : c;
  }
  if (fields.size() != 0) {
    line += "\t{";
    AppendFields(fields, ", ", ": ", &line);
    line += '}';
  }
  line += '\n';
  return line;
}

// syslog's.
int PriorityOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return 7;
    case LogLevel::kInfo:
      return 6;
    case LogLevel::kWarn:
      return 4;
    case LogLevel::kError:
      return 3;
    default:
      return 2;
  }
}

constexpr char kJournalSocket[] = "/run/systemd/journal/socket";

absl::StatusOr<std::unique_ptr<LogSink>> OpenSink(const std::string& output,
                                                  const std::optional<LogRotation>& rotation) {
  static const SystemClock* const clock = new SystemClock;
  if (output == "default" || output == "stderr") return MakeDescriptorSink(STDERR_FILENO);
  if (output == "stdout") return MakeDescriptorSink(STDOUT_FILENO);
  if (output == "systemd/journal") {
    auto journal = OpenJournalSink(kJournalSocket);
    if (journal.ok()) return journal;
    return MakeDescriptorSink(STDERR_FILENO);
  }
  if (output.empty()) {
    return absl::InvalidArgumentError(
        "empty log output; known: default, stderr, stdout, systemd/journal, or the path of a file");
  }
  return rotation ? OpenRotatingSink(output, *rotation, clock) : OpenFileSink(output);
}

}  // namespace

LogField::LogField(std::string_view field, std::string_view value)
    : name(field), json(JsonString(value)) {}
LogField::LogField(std::string_view field, const char* value)
    : LogField(field, std::string_view(value)) {}
LogField::LogField(std::string_view field, const std::string& value)
    : LogField(field, std::string_view(value)) {}
LogField::LogField(std::string_view field, int value) : name(field), json(StrCat(value)) {}
LogField::LogField(std::string_view field, unsigned value) : name(field), json(StrCat(value)) {}
LogField::LogField(std::string_view field, int64_t value) : name(field), json(StrCat(value)) {}
LogField::LogField(std::string_view field, uint64_t value) : name(field), json(StrCat(value)) {}
LogField::LogField(std::string_view field, double value) : name(field), json(JsonNumber(value)) {}
LogField::LogField(std::string_view field, bool value)
    : name(field), json(value ? "true" : "false") {}
LogField::LogField(std::string_view field, const std::vector<std::string>& value) : name(field) {
  for (const std::string& item : value) {
    json += json.empty() ? '[' : ',';
    AppendJsonString(item, &json);
  }
  json += json.empty() ? "[]" : "]";
}
LogField::LogField(const absl::Status& status)
    : LogField("error",
               status.message().empty() ? status.ToString() : std::string(status.message())) {}

LogField LogField::Json(std::string_view name, std::string json) {
  LogField field;
  field.name = name;
  field.json = std::move(json);
  return field;
}

absl::Status ParseLogLevel(std::string_view text, LogLevel* level) {
  for (size_t i = 0; i < std::size(kLevelNames); ++i) {
    if (text != kLevelNames[i]) continue;
    *level = static_cast<LogLevel>(i);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      StrCat("unknown log level \"", text, "\"; known: ", StrJoin(kLevelNames, ", ")));
}

absl::Status ConfigureLog(const LogConfig& config) {
  std::vector<std::unique_ptr<LogSink>> sinks;
  for (const std::string& output : config.outputs) {
    absl::StatusOr<std::unique_ptr<LogSink>> sink = OpenSink(output, config.rotation);
    if (!sink.ok()) return sink.status();
    sinks.push_back(*std::move(sink));
  }
  Logger& logger = TheLogger();
  std::lock_guard lock(logger.mutex);
  logger.format = config.format;
  logger.level = config.level;
  logger.sinks.swap(sinks);
  return absl::OkStatus();
}

bool LogEnabled(LogLevel level) {
  return level >= TheLogger().level.load(std::memory_order_relaxed);
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields,
         std::string_view logger, std::source_location where) {
  if (LogEnabled(level)) {
    Logger& target = TheLogger();
    std::lock_guard lock(target.mutex);
    const std::string line = target.format == LogConfig::Format::kJson
                                 ? JsonLine(level, message, fields, logger, where)
                                 : ConsoleLine(level, message, fields, logger, where);
    const int priority = PriorityOf(level);
    for (const auto& sink : target.sinks) sink->Write(priority, line);
  }
  // No clean-up: other threads still run and must not meet destroyed objects.
  if (level == LogLevel::kFatal) ::_exit(1);
  if (level == LogLevel::kPanic) ::_exit(2);
}

}  // namespace quorate
