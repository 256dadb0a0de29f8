#include "base/log.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file_env.h"
#include "base/json_text.h"
#include "base/temp_dir.h"
#include "base/text.h"

namespace quorate {
namespace {

using Json = nlohmann::json;

// Sends the log to a file while it lives.
class CapturedLog {
 public:
  explicit CapturedLog(LogConfig config = {}) {
    config.outputs = {path_};
    REQUIRE(ConfigureLog(config).ok());
  }
  ~CapturedLog() { REQUIRE(ConfigureLog(LogConfig()).ok()); }

  std::vector<std::string> Lines() const {
    const auto text = ReadFileToString(PosixFileEnv(), path_);
    REQUIRE(text.ok());
    REQUIRE((text->empty() || text->back() == '\n'));
    std::vector<std::string> lines;
    for (const std::string_view line : StrSplit(*text, '\n')) lines.emplace_back(line);
    lines.pop_back();
    return lines;
  }

 private:
  TempDir dir_;
  const std::string path_ = dir_.path() + "/log";
};

// Every digit as 0.
std::string ShapeOf(std::string line) {
  for (char& c : line) {
    if (c >= '0' && c <= '9') c = '0';
  }
  return line;
}

TEST_CASE("A JSON line has etcd's keys in etcd's order, then the fields") {
  CapturedLog log;
  LogWarn("odd things", {{"count", 3},
                         {"size", uint64_t{18446744073709551615u}},
                         {"offset", int64_t{-5}},
                         {"ratio", 0.1},
                         {"full", true},
                         {"urls", std::vector<std::string>{"a", "b"}},
                         {"name", "n1"},
                         absl::InternalError("etcdserver: broken"),
                         LogField::Json("nested", "{\"x\":[1]}")});
  Log(LogLevel::kInfo, "elected", {}, "raft");
  const auto lines = log.Lines();
  REQUIRE(lines.size() == 2);
  REQUIRE(ShapeOf(lines[0]).starts_with(
      R"({"level":"warn","ts":"0000-00-00T00:00:00.000000Z","caller":"base/log_test.cc:00",)"
      R"("msg":"odd things","count":0,)"));
  const Json first = Json::parse(lines[0]);
  REQUIRE(first["size"] == 18446744073709551615u);
  REQUIRE(first["offset"] == -5);
  REQUIRE(first["ratio"] == 0.1);
  REQUIRE(first["full"] == true);
  REQUIRE(first["urls"] == Json({"a", "b"}));
  REQUIRE(first["name"] == "n1");
  REQUIRE(first["error"] == "etcdserver: broken");
  REQUIRE(first["nested"]["x"][0] == 1);
  REQUIRE(Json::parse(lines[1])["logger"] == "raft");
}

TEST_CASE("Lines below the level are not written") {
  CapturedLog log({.level = LogLevel::kWarn});
  LogDebug("debug");
  LogInfo("info");
  LogWarn("warn");
  LogError("error");
  REQUIRE(log.Lines().size() == 2);
  REQUIRE_FALSE(LogEnabled(LogLevel::kInfo));
}

TEST_CASE("Console lines are tab-separated") {
  CapturedLog log({.format = LogConfig::Format::kConsole});
  Log(LogLevel::kInfo, "two\nlines", {{"a", 1}, {"b", "x"}}, "raft");
  LogInfo("plain");
  const auto lines = log.Lines();
  REQUIRE(lines.size() == 2);
  const auto cells = StrSplit(lines[0], '\t');
  REQUIRE(cells.size() == 6);
  REQUIRE(cells[1] == "info");
  REQUIRE(cells[2] == "raft");
  REQUIRE(cells[3].starts_with("base/log_test.cc:"));
  REQUIRE(cells[4] == "two lines");
  REQUIRE(cells[5] == "{\"a\": 1, \"b\": \"x\"}");
  REQUIRE(StrSplit(lines[1], '\t').size() == 4);
}

TEST_CASE("Any bytes in message and fields give one valid JSON line") {
  CapturedLog log;
  std::string all_bytes;
  for (int c = 0; c < 256; ++c) all_bytes += static_cast<char>(c);
  LogInfo(all_bytes, {{all_bytes, all_bytes}});
  const auto lines = log.Lines();
  REQUIRE(lines.size() == 1);
  const std::string message = Json::parse(lines[0])["msg"];
  REQUIRE(message.substr(0, 128) == all_bytes.substr(0, 128));
}

TEST_CASE("JSON strings keep valid UTF-8 and replace each byte that is not") {
  REQUIRE(JsonString("\u00fc \u20ac \U0001f600") == "\"\u00fc \u20ac \U0001f600\"");
  REQUIRE(JsonString("a\"b\\c\n\x01") == "\"a\\\"b\\\\c\\n\\u0001\"");
  // A lone continuation, an overlong slash, a surrogate, above U+10FFFF, a cut-off character.
  REQUIRE(JsonString("\x80") == "\"\\ufffd\"");
  REQUIRE(JsonString("\xc0\xaf") == "\"\\ufffd\\ufffd\"");
  REQUIRE(JsonString("\xed\xa0\x80") == "\"\\ufffd\\ufffd\\ufffd\"");
  REQUIRE(JsonString("\xf4\x90\x80\x80") == "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
  REQUIRE(JsonString("x\xe2\x82") == "\"x\\ufffd\\ufffd\"");
  REQUIRE(JsonNumber(1e300 * 1e10) == "\"+Inf\"");
  REQUIRE(JsonNumber(0.1) == "0.1");
}

TEST_CASE("Unknown levels and outputs are refused by name") {
  LogLevel level = LogLevel::kError;
  REQUIRE(ParseLogLevel("debug", &level).ok());
  REQUIRE(level == LogLevel::kDebug);
  REQUIRE(ParseLogLevel("loud", &level).message() ==
          "unknown log level \"loud\"; known: debug, info, warn, error, dpanic, panic, fatal");
  LogConfig config;
  config.outputs = {""};
  REQUIRE(absl::IsInvalidArgument(ConfigureLog(config)));
  config.outputs = {"/no/such/folder/log"};
  REQUIRE(absl::IsNotFound(ConfigureLog(config)));
}

TEST_CASE("Lines of several threads do not mix") {
  CapturedLog log;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) LogInfo(std::string(300, static_cast<char>('a' + t)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto lines = log.Lines();
  REQUIRE(lines.size() == 800);
  for (const std::string& line : lines) {
    const std::string message = Json::parse(line)["msg"];
    REQUIRE(message == std::string(300, message[0]));
  }
}

TEST_CASE("A fatal line ends the process with status 1, a panic with 2") {
  for (const auto& [level, want] : {std::pair{LogLevel::kFatal, 1}, {LogLevel::kPanic, 2}}) {
    CapturedLog log;
    const pid_t child = ::fork();
    if (child == 0) {
      Log(level, "the end");
      ::_exit(99);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == want);
    REQUIRE(log.Lines().size() == 1);
  }
}

}  // namespace
}  // namespace quorate
