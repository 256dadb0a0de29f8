#include "base/check.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <string>

#include "base/text.h"

namespace quorate {
namespace {

// What `function` writes to stderr in a process of its own, which must die of SIGABRT.
template <class Function>
std::string DeathText(Function function) {
  std::array<int, 2> ends;
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    // Catch's own handler would tell of the signal on stdout.
    std::signal(SIGABRT, SIG_DFL);
    function();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 1024> buffer;
  ssize_t got;
  while ((got = ::read(ends[0], buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGABRT);
  return text;
}

TEST_CASE("A failed check names place and condition and aborts") {
  const std::string text = DeathText([] { QR_CHECK(1 + 1 == 3); });
  REQUIRE_THAT(text, Catch::Contains("base/check_test.cc:"));
  REQUIRE_THAT(text, Catch::EndsWith("check failed: 1 + 1 == 3\n"));
}

TEST_CASE("The detail is made only when the check fails") {
  int made = 0;
  const auto detail = [&made] { return StrCat("made ", ++made); };
  QR_CHECK_MSG(made == 0, detail());
  REQUIRE(made == 0);
  const std::string text = DeathText([&] { QR_CHECK_MSG(made == 1, detail()); });
  REQUIRE_THAT(text, Catch::EndsWith("check failed: made == 1: made 1\n"));
}

}  // namespace
}  // namespace quorate
