// CHECK for our own mistakes, in every build. A failed check prints file, line and text to stderr
// and aborts: state that broke an invariant must not be served or written.
#pragma once

#include <string_view>

namespace quorate {

// Never returns. Any thread.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view detail);

}  // namespace quorate

#define QR_CHECK(condition)                                                       \
  do {                                                                            \
    if (__builtin_expect(!(condition), 0)) {                                      \
      ::quorate::CheckFailed(__FILE__, __LINE__, #condition, std::string_view()); \
    }                                                                             \
  } while (false)

// `detail` is evaluated only on failure; anything that converts to std::string_view.
#define QR_CHECK_MSG(condition, detail)                                 \
  do {                                                                  \
    if (__builtin_expect(!(condition), 0)) {                            \
      ::quorate::CheckFailed(__FILE__, __LINE__, #condition, (detail)); \
    }                                                                   \
  } while (false)
