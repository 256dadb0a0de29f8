// The rows of the allocator registry, one per file. For allocator.cc only; everyone else asks
// CreateAllocator.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "base/allocator.h"

namespace quorate {

std::unique_ptr<Allocator> CreateMallocAllocator(const AllocatorOptions& options);
std::unique_ptr<Allocator> CreateJemallocAllocator(const AllocatorOptions& options);
std::unique_ptr<Allocator> CreateArenaAllocator(const AllocatorOptions& options);

// kUnavailable when this build has no jemalloc in it.
absl::Status ProbeJemalloc();

}  // namespace quorate
