// What every backend demands of a batch before it touches anything.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

inline constexpr size_t kValueBytesMax = size_t{1} << 30;

// kInvalidArgument (nothing is changed) for an empty key of a put or delete, or a key or value
// above the bounds. An empty begin or end of a range is the edge of the table.
absl::Status CheckBatch(std::span<const WriteOp> batch);

}  // namespace quorate::kv
