// Passing errors upwards in one line. QR_RETURN_IF_ERROR(expr) leaves the function with the status
// of `expr` unless it is ok. QR_ASSIGN_OR_RETURN(auto x, expr) takes the value out of a
// absl::StatusOr or leaves with its status; the second form needs a scope of its own (no braceless
// if), since it declares a variable.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define QR_RETURN_IF_ERROR(expression)                            \
  do {                                                            \
    ::absl::Status qr_status_ = (expression);                     \
    if (__builtin_expect(!qr_status_.ok(), 0)) return qr_status_; \
  } while (false)

#define QR_STATUS_JOIN_INNER_(a, b) a##b
#define QR_STATUS_JOIN_(a, b) QR_STATUS_JOIN_INNER_(a, b)

#define QR_ASSIGN_OR_RETURN_IMPL_(temporary, target, expression)                  \
  auto temporary = (expression);                                                  \
  if (__builtin_expect(!temporary.ok(), 0)) return std::move(temporary).status(); \
  target = std::move(temporary).value()

// NOLINTNEXTLINE: `target` may be a declaration and cannot stand in parentheses.
#define QR_ASSIGN_OR_RETURN(target, expression) \
  QR_ASSIGN_OR_RETURN_IMPL_(QR_STATUS_JOIN_(qr_status_or_, __LINE__), target, expression)
