// The selectable allocator for window chunks, index nodes and request objects.
// Chosen at run time by name (--allocator): malloc, jemalloc, arena. One conformance suite runs
// over every row of the registry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quorate {

struct AllocatorOptions {
  // arena: size of the region reserved up front; beyond it the arena falls back to new regions of
  // the same size (counted in Stats). 0 = the default of 64 MiB.
  uint64_t arena_bytes = 0;
  // arena: touch every page at start (no page faults later) and lock them when permitted.
  enum class Prefault { kNo, kYes } prefault = Prefault::kNo;
};

struct AllocatorStats {
  uint64_t bytes_in_use = 0;    // handed out and not freed
  uint64_t bytes_reserved = 0;  // taken from the system
  uint64_t system_calls = 0;    // requests to the system allocator or kernel since start
  uint64_t allocations = 0;     // Allocate calls since start
};

// Any thread. Alignment is 16 bytes.
class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* Allocate(size_t size) = 0;           // never null: out of memory aborts
  virtual void Free(void* memory, size_t size) = 0;  // size as given to Allocate
  virtual AllocatorStats Stats() const = 0;
  virtual std::string_view name() const = 0;
};

struct AllocatorRow {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Allocator> (*create)(const AllocatorOptions&);
  // Ok, or kUnavailable with what is missing here and how to get it; then `create` must not be
  // used.
  absl::Status (*probe)();
};

// All implementations this binary knows, in the order in which errors list them.
std::span<const AllocatorRow> AllocatorRegistry();

// kInvalidArgument naming the known ones when `name` is not among them, kUnavailable when this
// build lacks it.
absl::StatusOr<std::unique_ptr<Allocator>> CreateAllocator(std::string_view name,
                                                           const AllocatorOptions& options);

}  // namespace quorate
