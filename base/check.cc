#include "base/check.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace quorate {

void CheckFailed(const char* file, int line, const char* condition, std::string_view detail) {
  std::string text =
      std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition;
  if (!detail.empty()) text.append(": ").append(detail);
  text += '\n';
  // One raw write: the process may be in any state, and buffers may never be flushed.
  ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(written);
  std::abort();
}

}  // namespace quorate
