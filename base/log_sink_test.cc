#include "base/log_sink.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/temp_dir.h"

namespace quorate {
namespace {

std::map<std::string, std::string> FilesOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(item.path());
    files[item.path().filename().string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return files;
}

TEST_CASE("a full log file is renamed with its time, and the oldest ones are dropped") {
  TempDir folder;
  ManualClock clock(1'700'000'000 * kNanosPerSecond);
  LogRotation rotation;
  rotation.bytes_max = 10;
  rotation.backups_max = 2;
  auto sink = OpenRotatingSink(folder.path() + "/server.log", rotation, &clock);
  REQUIRE(sink.ok());
  for (const char* line : {"first\n", "second\n", "third\n", "fourth\n"}) {
    (*sink)->Write(6, line);
    clock.AdvanceNs(kNanosPerSecond);
  }
  const auto files = FilesOf(folder.path());
  CHECK(files.size() == 3);
  CHECK(files.at("server.log") == "fourth\n");
  CHECK(files.at("server-2023-11-14T22-13-23.000.log") == "third\n");
  CHECK(files.at("server-2023-11-14T22-13-22.000.log") == "second\n");
}

TEST_CASE("a log file goes on where the process before it ended") {
  TempDir folder;
  ManualClock clock;
  LogRotation rotation;
  rotation.bytes_max = 12;
  for (const char* line : {"one\n", "two\n", "three\n"}) {
    auto sink = OpenRotatingSink(folder.path() + "/log", rotation, &clock);
    REQUIRE(sink.ok());
    (*sink)->Write(6, line);
  }
  const auto files = FilesOf(folder.path());
  CHECK(files.size() == 2);
  CHECK(files.at("log") == "three\n");
}

TEST_CASE("files that are full and too old are dropped at the next rotation") {
  TempDir folder;
  SystemClock clock;
  const std::string old = folder.path() + "/log-2020-01-01T00-00-00.000";
  std::ofstream(old) << "old";
  std::ofstream(folder.path() + "/log-of-somebody-else") << "kept";
  timespec times[2] = {{1'577'836'800, 0}, {1'577'836'800, 0}};
  REQUIRE(utimensat(AT_FDCWD, old.c_str(), times, 0) == 0);
  LogRotation rotation;
  rotation.bytes_max = 5;
  rotation.age_days_max = 7;
  auto sink = OpenRotatingSink(folder.path() + "/log", rotation, &clock);
  REQUIRE(sink.ok());
  (*sink)->Write(6, "one\n");
  (*sink)->Write(6, "two\n");
  const auto files = FilesOf(folder.path());
  CHECK(files.size() == 3);
  CHECK(files.contains("log-of-somebody-else"));
  CHECK_FALSE(std::filesystem::exists(old));
}

TEST_CASE("the journal gets one datagram a line, with its priority") {
  TempDir folder;
  const std::string path = folder.path() + "/socket";
  CHECK(absl::IsUnavailable(OpenJournalSink(path).status()));
  const int listener = socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof(address.sun_path));
  memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  auto sink = OpenJournalSink(path);
  REQUIRE(sink.ok());
  (*sink)->Write(4, "{\"msg\":\"hello\"}\n");
  char got[256];
  const ssize_t size = recv(listener, got, sizeof(got), MSG_DONTWAIT);
  REQUIRE(size > 0);
  CHECK(std::string_view(got, static_cast<size_t>(size)) ==
        "PRIORITY=4\nSYSLOG_IDENTIFIER=quorate\nMESSAGE={\"msg\":\"hello\"}\n");
  close(listener);
}

}  // namespace
}  // namespace quorate
