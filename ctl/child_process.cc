#include "ctl/child_process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "ctl/text_forms.h"

extern char** environ;

namespace quorate::ctl {
namespace {

std::vector<std::string> EnvironmentWith(
    const std::vector<std::pair<std::string, std::string>>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = SplitOnce(*entry, '=').first;
    bool replaced = false;
    for (const auto& pair : more) replaced = replaced || pair.first == name;
    if (!replaced) all.emplace_back(*entry);
  }
  for (const auto& [name, value] : more) all.push_back(StrCat(name, "=", value));
  return all;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string SignalText(int signal) {
  std::string name = strsignal(signal);
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return StrCat("signal: ", name);
}

ChildEnd NotStarted(const std::string& program, int error) {
  if (error == ENOENT && program.find('/') == std::string::npos) {
    return {1, StrCat("exec: ", GoQuote(program), ": executable file not found in $PATH")};
  }
  std::string reason = strerror(error);
  if (!reason.empty() && reason[0] >= 'A' && reason[0] <= 'Z') reason[0] += 'a' - 'A';
  return {1, StrCat("fork/exec ", program, ": ", reason)};
}

}  // namespace

ChildEnd RunChild(const std::vector<std::string>& words,
                  const std::vector<std::pair<std::string, std::string>>& environment) {
  QR_CHECK(!words.empty());
  std::fflush(stdout);
  const std::vector<std::string> variables = EnvironmentWith(environment);
  posix_spawnattr_t attributes;
  QR_CHECK(posix_spawnattr_init(&attributes) == 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  const int error = posix_spawnp(&child, words[0].c_str(), nullptr, &attributes,
                                 Pointers(words).data(), Pointers(variables).data());
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return NotStarted(words[0], error);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return {255, SignalText(WTERMSIG(status))};
  const int code = WEXITSTATUS(status);
  return {code, code == 0 ? "" : StrCat("exit status ", code)};
}

}  // namespace quorate::ctl
