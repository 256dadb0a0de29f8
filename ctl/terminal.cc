#include "ctl/terminal.h"

#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

namespace quorate::ctl {
namespace {

constexpr char kBlanks[] = " \t\r\n";

termios before_silence;  // for the signal handler

// Ctrl-C at the prompt leaves the terminal as it was.
void EndOfSilence(int signal) {
  tcsetattr(STDIN_FILENO, TCSANOW, &before_silence);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Echo is off while it lives. One at a time.
class SilentTerminal {
 public:
  SilentTerminal() : is_terminal_(tcgetattr(STDIN_FILENO, &before_silence) == 0) {
    if (!is_terminal_) return;
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, EndOfSilence);
    termios silent = before_silence;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  ~SilentTerminal() {
    if (!is_terminal_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_silence);
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
  }

 private:
  const bool is_terminal_;
};

std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

std::optional<std::string> ReadLine() {
  std::string line;
  for (char byte = 0;;) {
    const ssize_t count = read(STDIN_FILENO, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return line.empty() ? std::nullopt : std::optional(line);
    if (byte == '\n') return line;
    line += byte;
  }
}

std::string AskPassword(const std::string& prompt) {
  std::string line;
  {
    const SilentTerminal silent;  // before the prompt: who is fast is not shown either
    std::fputs(prompt.c_str(), stdout);
    std::fflush(stdout);
    line = ReadLine().value_or("");
  }
  std::fputs("\n", stdout);
  return Trimmed(line);
}

std::string ReadWord() {
  const std::string line = Trimmed(ReadLine().value_or(""));
  return line.substr(0, line.find_first_of(kBlanks));
}

std::string ReadStandardInput() {
  std::string text;
  char buffer[64 << 10];
  ssize_t count;
  while ((count = read(STDIN_FILENO, buffer, sizeof(buffer))) != 0) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

}  // namespace quorate::ctl
