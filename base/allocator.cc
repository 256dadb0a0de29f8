#include "base/allocator.h"

#include "base/allocator_rows.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate {
namespace {

absl::Status AlwaysThere() { return absl::OkStatus(); }

constexpr AllocatorRow kRows[] = {
    {.name = "malloc",
     .summary = "the C library's own",
     .create = CreateMallocAllocator,
     .probe = AlwaysThere},
    {.name = "jemalloc",
     .summary = "jemalloc, for what goes through this interface only",
     .create = CreateJemallocAllocator,
     .probe = ProbeJemalloc},
    {.name = "arena",
     .summary = "size classes in regions reserved up front; no system calls once warm",
     .create = CreateArenaAllocator,
     .probe = AlwaysThere},
};

}  // namespace

std::span<const AllocatorRow> AllocatorRegistry() { return kRows; }

absl::StatusOr<std::unique_ptr<Allocator>> CreateAllocator(std::string_view name,
                                                           const AllocatorOptions& options) {
  std::string known;
  for (const AllocatorRow& row : kRows) {
    if (row.name == name) {
      QR_RETURN_IF_ERROR(row.probe());
      return row.create(options);
    }
    StrAppend(&known, known.empty() ? "" : ", ", row.name);
  }
  return absl::InvalidArgumentError(StrCat("unknown allocator \"", name, "\"; known: ", known));
}

}  // namespace quorate
