// Which sanitizer this program is built under: GCC says it by a macro of its own, clang by
// __has_feature. Code asks by `#if QUORATE_ADDRESS_SANITIZER`, never for a compiler's own name.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define QUORATE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUORATE_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef QUORATE_ADDRESS_SANITIZER
#define QUORATE_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__)
#define QUORATE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QUORATE_THREAD_SANITIZER 1
#endif
#endif
#ifndef QUORATE_THREAD_SANITIZER
#define QUORATE_THREAD_SANITIZER 0
#endif

#define QUORATE_SANITIZED (QUORATE_ADDRESS_SANITIZER || QUORATE_THREAD_SANITIZER)
